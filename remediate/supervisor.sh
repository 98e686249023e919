#!/bin/sh
# The supervisor: makes one change on a node, watches the kubelet, and keeps
# the change only when fleet confirms it over a fresh connection. Otherwise it
# puts the old bytes back and verifies that. It runs as a transient unit, apart
# from any session, so that a lost link cannot end it half-way; the unit's name
# is the node's lock. systemd starts it again when it is killed, and it then
# finds in its journal how far it had come.
#
# usage: supervisor.sh PREFIX    PREFIX stands before every path, "" on a node
#
# Its folder is the run's: "plan" (what to do, lines for sh), "files" (a line
# "N OLD-SHA256 NEW-SHA256 PATH" per file), "new.N" (the bytes to write). It
# adds "old.N" (the backups), "kept.N" (the replaced files themselves, until the
# end), "state" (its journal: "STATE REASON", then a line for people), "log" (each
# state with its time) and "evidence" (the commands it ran and what they said).
# fleet adds "confirm" or "abort". "room" keeps some of the disk for the journal.
#
# The states:
#   checking        nothing is changed yet
#   changing        files are being replaced
#   restarting      the kubelet is being restarted
#   watching        the kubelet has to prove itself
#   waiting         healthy; waits for the confirmation
#   committed       END confirmed; the backups stay for fleet rollback
#   refused         END nothing was changed
#   rolling-back    the old bytes are put back
#   rolled-back     END the node is as it was
#   rollback-failed END it is not: somebody has to look

# shellcheck disable=SC2317,SC2329 # each calls functions by their names

set -u
LC_ALL=C
export LC_ALL
unset IFS
umask 077
R=${1-}
dir=${0%/*}
cd "$dir" || exit 0
terminated=
trap '' HUP PIPE INT
trap 'terminated=yes' TERM

# shellcheck source=/dev/null
. ./plan
# shellcheck disable=SC2154 # the plan assigns run, owner, unit, restart, healthz and the limits
: "$run $owner $unit $restart $healthz $health_limit $healthy_for $confirm_limit $keep_runs"

# now sets $now: seconds that no change of the clock can bend.
now() {
	read -r now _ </proc/uptime
	now=${now%.*}
}

log() {
	printf '%s %s\n' "$(date -u '+%Y-%m-%dT%H:%M:%SZ')" "$*" >>log 2>/dev/null
	within 5 logger -t fleet "run $run by $owner: $*" 2>/dev/null </dev/null # its socket blocks while journald does
}

# state STATE REASON MESSAGE: the journal's new entry, whole or not at all.
state() {
	current=$1
	log "$1 $2 $3"
	write_state "$@" || {
		rm -f room # it was kept for this
		write_state "$@"
	}
	case $1 in committed | refused | rolled-back | rollback-failed) rm -f room ;; esac
}

write_state() {
	{ printf '%s %s\n%s\n' "$1" "$2" "$3" >state.new && flush state.new && mv -f state.new state; } 2>/dev/null
}

if command -v timeout >/dev/null 2>&1; then
	within() { timeout "$@"; }
else
	within() {
		shift
		"$@"
	}
fi

flush() { within 20 sync "$@" 2>/dev/null || within 20 sync; }

# digest FILE: sets $digest.
digest() {
	digest=$(sha256sum <"$1" 2>/dev/null)
	digest=${digest%% *}
}

# keep COMMAND...: runs a command, keeps what it said as evidence.
keep() {
	seconds=$1
	shift
	# shellcheck disable=SC2012 # the names are ours
	kept=$(ls evidence 2>/dev/null | wc -l)
	kept=$((kept / 3 + 1))
	raw=evidence/$kept.raw
	# The command runs even where nothing can be kept of it.
	{ printf '%s\n' "$*" >"evidence/$kept.command" && : >"$raw"; } 2>/dev/null || raw=/dev/null
	within "$seconds" "$@" >"$raw" 2>&1 </dev/null
	code=$?
	{
		head -c 32768 "$raw" >"evidence/$kept.out"
		rm -f "evidence/$kept.raw"
		printf '%s\n' "$code" >"evidence/$kept.exit"
	} 2>/dev/null
	return "$code"
}

# each COMMAND: calls it with the fields of each line of "files".
each() {
	while read -r n old new path <&3; do
		"$1" || return 1
	done 3<files
}

# real sets $real, the file behind the path, and $folder, where it lies.
real() {
	real=$(readlink -f "$R$path")
	folder=${real%/*}
}

fault() {
	reason=$1
	message=$2
	return 1
}

# explain TEXT: sorts what a failed command said into a reason.
explain() {
	case $1 in
	*"No space left"* | *"Disk quota"*) fault disk-full "$path: $1" ;;
	*"Read-only file system"*) fault read-only "$path: $1" ;;
	*) fault write-failed "$path: $1" ;;
	esac
}

check() {
	[ -f "$R$path" ] || { fault file-changed "$path is not a regular file any more"; return 1; }
	real
	if [ -L "$R$path" ]; then
		above=$(cd "${R}${path%/*}" && pwd -P)
		[ "$above" = "$folder" ] || { fault symlink-elsewhere "$path leads to $real"; return 1; }
	fi
	digest "$real"
	[ "$digest" = "$old" ] || { fault file-changed "$path is not what the plan was made from"; return 1; }
	[ "$(stat -L -c %h "$real" 2>/dev/null)" = 1 ] || { fault hard-link "$path has more than one name on disk"; return 1; }
	[ -w "$folder" ] || { fault read-only "$folder cannot be written to"; return 1; }
}

# prepare: the backup, and the new file beside the old one with its owner, mode
# and label. Its name begins with a dot and does not end in .conf, so that it is
# no drop-in. The old file itself gets a second name in the run's folder, if that
# is on the same disk: to put it back is then one rename, for which a full disk
# has room. It is not kept beside the new file, because the folder must not be
# changed after the kubelet has read it.
prepare() {
	real
	said=$(cp -a "$real" "old.$n" 2>&1) || { explain "$said"; return 1; }
	digest "old.$n"
	[ "$digest" = "$old" ] || { fault file-changed "$path changed while it was copied"; return 1; }
	touch -r "$folder" "stamp.$n"
	temporary=$folder/.fleet-$run.$n
	said=$( { cp -a "$real" "$temporary" && cat "new.$n" >"$temporary"; } 2>&1) || { explain "$said"; return 1; }
	digest "$temporary"
	[ "$digest" = "$new" ] || { fault write-failed "$path: the new file cannot be read back"; return 1; }
	flush "old.$n" "$temporary" || { fault write-failed "$path: sync failed"; return 1; }
	ln "$real" "kept.$n" 2>/dev/null || : # the backup will have to do
}

replace() {
	real
	said=$(mv -f "$folder/.fleet-$run.$n" "$real" 2>&1) || { explain "$said"; return 1; }
	flush "$folder"
	digest "$real"
	[ "$digest" = "$new" ] || { fault write-failed "$path: the new file cannot be read back"; return 1; }
}

tidy() {
	real
	rm -f "$folder/.fleet-$run.$n" "kept.$n" 2>/dev/null
	return 0
}

# unstamp gives a folder its time back, where no restart follows: the audit
# takes a folder of drop-ins that changed after the kubelet's start for one that
# the kubelet has not read.
unstamp() {
	real
	[ ! -e "stamp.$n" ] || touch -r "stamp.$n" "$folder" 2>/dev/null
	return 0
}

# restore puts one file back, unless it is neither ours nor the old one.
restore() {
	real
	digest "$real"
	[ "$digest" != "$old" ] || return 0
	if [ "$digest" != "$new" ]; then
		foreign="$foreign $path"
		return 0
	fi
	temporary=$folder/.fleet-$run.$n
	digest "kept.$n"
	if [ "$digest" = "$old" ] && mv -f "kept.$n" "$real" 2>/dev/null; then
		flush "$folder"
		return 0
	fi
	said=$( { cp -a "old.$n" "$temporary" && flush "$temporary" && mv -f "$temporary" "$real"; } 2>&1) || {
		rm -f "$temporary" 2>/dev/null
		failed="$failed $path ($said)"
		return 0
	}
	flush "$folder"
	digest "$real"
	[ "$digest" = "$old" ] || failed="$failed $path (it cannot be read back)"
}

# unit_state sets what systemd says of the unit.
unit_state() {
	active='' sub='' pid='' restarts='' invocation='' result=''
	# No here-document: some shells put it into a file, and the disk may be full.
	for line in $(within 20 systemctl show "$unit" -p ActiveState,SubState,MainPID,NRestarts,InvocationID,Result 2>/dev/null </dev/null); do
		case $line in
		ActiveState=*) active=${line#*=} ;;
		SubState=*) sub=${line#*=} ;;
		MainPID=*) pid=${line#*=} ;;
		NRestarts=*) restarts=${line#*=} ;;
		InvocationID=*) invocation=${line#*=} ;;
		Result=*) result=${line#*=} ;;
		esac
	done
}

# answers: healthz says ok. Where nothing can ask, the unit's state has to do.
answers() {
	[ -n "$healthz" ] || return 0
	if command -v curl >/dev/null 2>&1; then
		said=$(within 8 curl -q -s --noproxy '*' --max-time 5 "$healthz" 2>/dev/null </dev/null)
	elif command -v wget >/dev/null 2>&1; then
		said=$(within 8 wget -q -O - -T 5 "$healthz" 2>/dev/null </dev/null)
	else
		said=ok
	fi
	[ "$said" = ok ]
}

# sound: one look at the kubelet. It fails at once on what cannot come right by
# waiting and sets $well to yes or to what is still missing.
sound() {
	well=
	unit_state
	case $active in
	failed) fault kubelet-failed "$unit is failed ($result)"; return 1 ;;
	inactive) fault kubelet-failed "$unit is $active/$sub after the restart"; return 1 ;;
	esac
	case $restarts in
	'' | *[!0-9]*) ;;
	*) [ "$restarts" -le "$base" ] || { fault kubelet-restarts "the kubelet ended after its start ($active/$sub, result $result, restarts $((restarts - base)))"; return 1; } ;;
	esac
	if [ "$active" != active ] || [ "${pid:-0}" = 0 ]; then
		well="$unit is $active/$sub"
	elif [ -n "$main" ] && [ "$pid" != "$main" ]; then
		fault kubelet-restarts "the kubelet's process changed from $main to $pid"
		return 1
	elif main=$pid && answers; then
		well=yes
	else
		well="process $pid runs, but $healthz does not say ok"
	fi
}

# watch SECONDS: the kubelet has to be well for so long in a row, before the
# limit ends.
watch() {
	now
	[ $((end - now)) -ge $(($1 + 10)) ] || end=$((now + $1 + 10))
	since='' main=''
	while :; do
		if [ -z "$undoing" ]; then
			[ -z "$terminated" ] || { fault interrupted "the supervisor was told to end"; return 1; }
			[ ! -e abort ] || { aborted; return 1; }
		fi
		sound || return 1
		now
		if [ "$well" != yes ]; then
			since=
		elif [ -z "$since" ]; then
			since=$now
		fi
		[ -z "$since" ] || [ $((now - since)) -lt "$1" ] || return 0
		[ "$now" -lt "$end" ] || { fault unhealthy "not healthy within $health_limit s: $well"; return 1; }
		sleep 1
	done
}

aborted() {
	reason='' message=''
	{ read -r reason && read -r message; } <abort
	fault "${reason:-aborted}" "${message:-fleet called the change off}"
}

restart_kubelet() {
	keep 60 systemctl daemon-reload || { fault reload-failed "systemctl daemon-reload failed (see the evidence)"; return 1; }
	[ "$restart" = yes ] || return 0
	now
	end=$((now + health_limit))
	# The count of restarts begins anew, and a start limit that was hit is forgotten.
	within 20 systemctl reset-failed "$unit" >/dev/null 2>&1 </dev/null
	keep "$health_limit" systemctl restart "$unit"
	code=$?
	# An automatic restart that was due meanwhile is counted, and none of ours.
	unit_state
	base=0
	case $restarts in '' | *[!0-9]*) ;; *) base=$restarts ;; esac
	case $code in
	0 | 124 | 143) ;; # 124 and 143: still starting; the watch goes on waiting
	*) fault restart-failed "systemctl restart $unit failed (see the evidence)"; return 1 ;;
	esac
}

show_status() { keep 20 systemctl status "${unit%.service}" -l; }

# confirmed: waits for fleet, and goes on watching meanwhile.
confirmed() {
	now
	end=$((now + confirm_limit))
	while :; do
		[ ! -e confirm ] || return 0
		[ ! -e abort ] || { aborted; return 1; }
		[ -z "$terminated" ] || { fault interrupted "the supervisor was told to end"; return 1; }
		if [ "$restart" = yes ]; then
			sound || return 1
		fi
		now
		if [ "$now" -ge "$end" ]; then
			[ -e confirm ] && return 0
			fault no-confirmation "fleet did not confirm within $confirm_limit s"
			return 1
		fi
		sleep 1
	done
}

commit() {
	state committed - "$1"
	each tidy
	prune
	exit 0
}

refuse() {
	each tidy
	each unstamp
	state refused "$reason" "$message"
	exit 0
}

# word_of RUN: sets $word, the state of a run on this node.
word_of() {
	word=
	if [ -r "$1/state" ]; then read -r word _ <"$1/state"; fi
}

# prune keeps the newest finished runs; their names sort by time. A run that
# has not ended well stays; one of another day that never began goes.
prune() {
	# shellcheck disable=SC2044 # the names are ours
	for other in $(find .. -mindepth 1 -maxdepth 1 -type d -mmin +1440 2>/dev/null); do
		[ -e "$other/state" ] || rm -rf "$other"
	done
	finished=0
	for other in ../*/; do
		word_of "$other"
		case $word in committed | refused | rolled-back) finished=$((finished + 1)) ;; esac
	done
	for other in ../*/; do
		[ "$finished" -gt "$keep_runs" ] || return 0
		word_of "$other"
		case $word in
		committed | refused | rolled-back)
			rm -rf "$other"
			finished=$((finished - 1))
			;;
		esac
	done
}

# roll_back ends the run with the old bytes in place.
roll_back() {
	why=$reason what=$message
	stage=$current
	state rolling-back "$why" "$what"
	trap '' TERM
	undoing=yes foreign='' failed='' sick='' # nothing keeps a roll-back from its end
	each restore
	each tidy
	unit_state
	began=
	[ -r invocation ] && read -r began <invocation
	if [ "$restart" = yes ] && { [ "$stage" != changing ] || [ "$invocation" != "$began" ]; }; then
		if ! { restart_kubelet && watch "$healthy_after"; }; then
			if [ "$(within 20 systemctl is-system-running 2>/dev/null </dev/null)" = stopping ]; then
				what="$what; the node is shutting down, its next boot has the old files"
			elif [ "$was_well" = yes ]; then
				sick="; the kubelet does not come back: $message"
			else
				what="$what; the kubelet is not healthy, as before"
			fi
		fi
	else
		each unstamp
		keep 60 systemctl daemon-reload
	fi
	show_status
	if [ -n "$foreign$failed$sick" ]; then
		[ -z "$failed" ] || what="$what; could not be put back:$failed"
		[ -z "$foreign" ] || what="$what; changed by somebody else meanwhile and left alone:$foreign"
		[ -n "$foreign$failed" ] || what="$what; the old files are back"
		state rollback-failed "$why" "$what$sick"
		exit 0
	fi
	state rolled-back "$why" "$what"
	prune
	exit 0
}

# unfinished finds a run of the past that never ended: it has to be cleared up
# before another change is made.
unfinished() {
	for other in ../*/; do
		[ "$other" != "../$run/" ] || continue
		word_of "$other"
		case $word in
		'' | committed | refused | rolled-back | rollback-failed) ;;
		*)
			fault unfinished-run "run $(basename "$other") on this node is unfinished ($word)"
			return 0
			;;
		esac
	done
	return 1
}

# fresh is the whole change, from the first look.
fresh() {
	state checking - "checking the files"
	if [ "$current" != checking ] || [ ! -s state ]; then
		exit 0 # without a journal nothing is changed
	fi
	if unfinished; then refuse; fi
	[ ! -e abort ] || { aborted; refuse; }
	each check || refuse
	each prepare || refuse
	unit_state
	printf '%s\n' "$invocation" >invocation
	was_well=no
	if [ "$active" = active ] && answers; then was_well=yes; fi
	[ "$was_well" = yes ] || : >unwell
	[ ! -e abort ] || { aborted; refuse; }
	state changing - "replacing the files"
	read -r word _ <state
	[ "$word" = changing ] || { fault disk-full "the journal cannot be written"; refuse; }
	each replace || roll_back
	state restarting - "restarting the kubelet"
	restart_kubelet || { show_status; roll_back; }
	if [ "$restart" = yes ]; then
		state watching - "watching the kubelet"
		watch "$healthy_for" || { show_status; roll_back; }
	fi
	show_status
	state waiting - "healthy; waiting for the confirmation"
	confirmed || roll_back
	commit "confirmed"
}

# again: systemd or fleet started the supervisor anew. Whatever was under way
# is undone, unless it had been confirmed.
again() {
	was_well=yes
	[ ! -e unwell ] || was_well=no
	case $current in
	checking) fault interrupted "the supervisor was killed before anything was changed"; refuse ;;
	changing | restarting | watching | waiting)
		if [ -e confirm ]; then commit "confirmed after the supervisor had been killed"; fi
		if [ -e abort ]; then aborted; else fault interrupted "the supervisor was killed"; fi
		roll_back
		;;
	rolling-back)
		reason=$was message=$said
		current=watching
		roll_back
		;;
	esac
	exit 0
}

reason=- message='' undoing='' current='' was='' said='' main='' end=0 base=0 healthy_after=5
[ "$healthy_for" -ge 5 ] || healthy_after=$healthy_for
mkdir -p evidence
if [ -s state ]; then
	{ read -r current was; read -r said; } <state
	again
fi
fresh
