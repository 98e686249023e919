# The probe: looks at one node and prints what it saw. It writes nothing and
# starts nothing but programs that read.
#
# It runs under dash, bash and busybox ash, from standard input of `sh -s`. The
# first argument is a prefix for every path, empty on a real node. The lines
# that fleet puts in front of it set:
#   nonce  random text that frames the sections, known to nobody on the node
#   unit   the unit that runs the kubelet
#   files, dirs   paths to bring, one a line
#   first  "yes": bring also what is found by looking (processes, config, ...)
#
# The answer is a row of sections, each a line "--NONCE NAME ARGUMENTS" after a
# line feed, then its body as it is, to the next such line. The last is "end".

# shellcheck disable=SC2154 # the lines in front assign them

set -u
LC_ALL=C
TZ=UTC0
export LC_ALL TZ
unset IFS
set -f
nl='
'
limit=524288

section() { printf '\n--%s %s\n' "$nonce" "$*"; }

# Programs that may wait for a daemon are given a limit where there is one.
if command -v timeout >/dev/null 2>&1; then
	within() { timeout "$@" </dev/null; }
else
	within() {
		shift
		"$@" </dev/null
	}
fi

# state_of PATH: sets $state. Without root a path below a directory that cannot
# be searched looks missing and may not be.
state_of() {
	if [ -d "$1" ]; then
		state=directory
	elif [ -f "$1" ] || [ -c "$1" ]; then
		if [ -r "$1" ]; then state=present; else state=unreadable; fi
	elif [ -e "$1" ]; then
		state=not-regular
	else
		state=missing
		[ -L "$1" ] || [ "$uid" = 0 ] && return
		above=${1%/*}
		while [ -n "$above" ] && [ ! -d "$above" ]; do above=${above%/*}; done
		[ -x "$above/" ] || state=unreadable
	fi
}

# brought holds every path that was looked at, for the one stat at the end.
brought=$nl
count=0

file() {
	case $brought in *"$nl$1$nl"*) return ;; esac
	brought=$brought$1$nl
	count=$((count + 1))
	if [ "$count" -gt 300 ]; then
		return
	fi
	state_of "$R$1"
	link=-
	if [ -L "$R$1" ]; then
		link=$(readlink "$R$1")
		case $link in *"$nl"*) link='?' ;; esac
	fi
	section file "$state" "$1"
	printf '%s\n' "$link"
	if [ "$state" = present ] && [ ! -c "$R$1" ]; then
		head -c "$limit" "$R$1" 2>/dev/null
	fi
}

# listing DIR...: one find over all that exist; a link is not followed, as the
# kubelet does not follow it, unless a slash ends its name.
listing() {
	found=
	for d in "$@"; do
		case $brought in *"$nl$d$nl"*) continue ;; esac
		brought=$brought$d$nl
		if [ -d "$R$d" ]; then
			state=present
			if [ -r "$R$d" ] && [ -x "$R$d" ]; then
				found="$found$nl.$d"
			else
				state=unreadable
			fi
			if [ -L "$R$d" ]; then state=not-regular; fi
		else
			state_of "$R$d"
			case $state in present | unreadable) [ -e "$R$d" ] && state=not-regular ;; esac
		fi
		section dir "$state" "$d"
	done
	if [ -n "$found" ]; then
		section entries
		(
			cd "$R/" || exit
			IFS=$nl
			# shellcheck disable=SC2086 # one word a line is meant
			exec find $found ! -type d 2>/dev/null
		) | head -n 2000
	fi
}

# lines FILE: copies a small text file without starting a program.
lines() {
	while read -r line || [ -n "$line" ]; do
		printf '%s\n' "$line"
	done 2>/dev/null <"$1"
}

# each COMMAND TEXT: calls the command for each line of the text.
each() {
	command=$1
	IFS=$nl
	# shellcheck disable=SC2086 # one word a line is meant
	set -- $2
	unset IFS
	[ "$command" = listing ] && {
		listing "$@"
		return
	}
	for item in "$@"; do
		"$command" "$item"
	done
}

# globbed PATTERN: what matches, and the directory that the pattern begins with.
globbed() {
	base=${1%%[[*?]*}
	listing "${base%/*}"
	set +f
	IFS=
	for match in "$R"$1; do
		set -f
		unset IFS
		if [ -e "$match" ]; then file "${match#"$R"}"; fi
		IFS=
	done
	set -f
	unset IFS
}

process() {
	p=$R/proc/$1
	if [ ! -e "$p/cmdline" ]; then
		section gone "$1"
		return
	fi
	section cmdline "$1"
	head -c "$limit" "$p/cmdline" 2>/dev/null
	section process "$1"
	printf 'comm %s\n' "$2"
	printf 'exe %s\n' "$(readlink "$p/exe" 2>/dev/null)"
	printf 'cwd %s\n' "$(readlink "$p/cwd" 2>/dev/null)"
	printf 'pidns %s\n' "$(readlink "$p/ns/pid" 2>/dev/null)"
	section stat "$1"
	lines "$p/stat"
	section cgroup "$1"
	lines "$p/cgroup"
}

version() {
	section version "$1"
	within 10 "$2" --version 2>/dev/null | head -c 256
}

identity() {
	section id
	printf 'uid %s\n' "$uid"
	printf 'uname %s\n' "$(uname -snrm)"
	now=$(date '+%s.%N')
	printf 'now %s\n' "$now"
	for f in /proc/uptime /proc/sys/kernel/random/boot_id /etc/machine-id /proc/1/comm; do
		x=
		read -r x 2>/dev/null <"$R$f" || :
		printf '%s %s\n' "$f" "$x"
	done
	file /etc/os-release
}

show() {
	section show
	within 20 systemctl show --no-pager "$@" -p "Id,LoadState,LoadError,ActiveState,SubState,Result,Type,MainPID,\
ControlGroup,NRestarts,FragmentPath,DropInPaths,EnvironmentFiles,UnitFileState,NeedDaemonReload,\
ExecMainStatus,ExecMainCode,ConditionResult,InvocationID,ExecMainStartTimestamp" 2>&1
	printf '\nexit %s\n' "$?"
}

# processes: every process whose name is one that runs a kubelet. The exhibit
# below is for the reader; the verdict comes from here and from the unit.
processes() {
	set +f
	for p in "$R"/proc/[0-9]*; do
		set -f
		c=
		read -r c 2>/dev/null <"$p/comm" || continue
		case $c in
		kubelet | kubelite | hyperkube | kubenswrapper | k3s | k3s-* | rke2 | rke2-*)
			pid=${p##*/}
			seen="$seen $pid "
			process "$pid" "$c"
			;;
		esac
	done
	set -f
}

# hints: reads text and prints paths behind --config and --config-dir in whatever text, and
# the environment files and executables that units name. Only a guess at what to bring along:
# fleet works out what the kubelet reads, and asks again for what is missing.
hints() {
	sed -n \
		-e 's/\\$//' \
		-e 's/[[:space:]"'\''=]--config[-_]dir[=[:space:]]["'\'']*/\
@dir /g' \
		-e 's/[[:space:]"'\''=]--config[=[:space:]]["'\'']*/\
@file /g' \
		-e 's/^[[:space:]]*EnvironmentFile[[:space:]]*=[[:space:]]*-\{0,1\}["'\'']*/\
@env /' \
		-e 's/^[[:space:]]*ExecStart[[:space:]]*=[-@:+!|[:space:]]*/\
@exe /' \
		-e 's/^[[:space:]]*WorkingDirectory[[:space:]]*=[-[:space:]]*/\
@cwd /' \
		-e '/\n@/p' | sed -n -e 's/^@\([a-z]*\) \(\/[^[:space:]"'\'']*\).*/\1 \2/p'
}

# follow "KIND PATH": brings one thing that hints found.
follow() {
	case $1 in
	'env '*[*?[]*) globbed "${1#* }" ;;
	'env '* | 'file '*) file "${1#* }" ;;
	'dir '*) config_dir "${1#* }" ;;
	'exe '*) executable "${1#* }" ;;
	'cwd '*) presence "${1#* }" ;;
	esac
}

# executable PATH: whether it is there, without its bytes.
executable() {
	case $brought in *"$nl$1$nl"*) return ;; esac
	brought=$brought$1$nl
	state_of "$R$1"
	section file "$state" "$1"
	echo -
}

# presence DIR: whether the directory is there, without what is in it.
presence() {
	case $brought in *"$nl$1$nl"*) return ;; esac
	brought=$brought$1$nl
	state_of "$R$1"
	case $state in
	directory) section dir present "$1" ;;
	missing) section dir missing "$1" ;;
	esac
}

config_dir() {
	listing "$1"
	set +f
	for match in "$R${1%/}"/*.conf; do
		set -f
		if [ -e "$match" ]; then file "${match#"$R"}"; fi
	done
	set -f
}

discover() {
	section manager
	within 20 systemctl show --no-pager -p Version,Environment 2>/dev/null
	show "$unit" k3s.service k3s-agent.service rke2-server.service rke2-agent.service
	main=$(within 20 systemctl show --no-pager "$unit" -p MainPID 2>/dev/null)
	main=${main#MainPID=}
	seen=' '
	processes
	case $main in
	'' | 0 | *[!0-9]*) main= ;;
	*) case $seen in *" $main "*) ;; *)
		c=
		read -r c 2>/dev/null <"$R/proc/$main/comm" || :
		process "$main" "$c"
		;;
	esac ;;
	esac

	listed=
	for d in $dirs; do
		if [ -d "$R$d" ]; then listed="$listed $d"; fi
	done
	set +f
	for d in $listed; do
		for match in "$R$d"/*.conf; do
			set -f
			if [ -e "$match" ] || [ -L "$match" ]; then file "${match#"$R"}"; fi
		done
		set +f
	done
	set -f

	text=$(
		{
			IFS=$nl
			for f in $brought; do
				case $f in
				*.service | *.conf) if [ -f "$R$f" ] && [ -r "$R$f" ]; then cat "$R$f"; fi ;;
				esac
			done
			unset IFS
			if [ -n "$main" ] && [ -r "$R/proc/$main/cmdline" ]; then
				printf ' '
				tr '\000\n' '  ' <"$R/proc/$main/cmdline"
			fi
		} 2>/dev/null | hints
	)
	each follow "$text"
	text=$(
		{
			IFS=$nl
			for f in $brought; do
				case $f in
				*.service | *.conf | *.json | *.yaml | *.yml | /etc/os-release) ;;
				*) if [ -f "$R$f" ] && [ -r "$R$f" ]; then head -c "$limit" "$R$f"; fi ;;
				esac
			done
		} 2>/dev/null | hints
	)
	each follow "$text"
	for f in /etc/kubernetes/kubelet/kubelet-config.json /etc/default/kubeletconfig.json \
		/var/lib/kubelet/config.yaml /etc/kubernetes/kubelet/config.json /etc/kubernetes/kubelet-config.yaml; do
		if [ -f "$R$f" ]; then file "$f"; fi
	done

	if [ -n "$main" ]; then
		exe=$(readlink "$R/proc/$main/exe" 2>/dev/null)
		case $exe in
		'') ;;
		*' (deleted)') version "$main" "$R/proc/$main/exe" ;;
		*) if [ -x "$R$exe" ]; then version "$main" "$R$exe"; fi ;;
		esac
		section environ "$main"
		tr '\000' '\n' 2>/dev/null <"$R/proc/$main/environ" | grep '^KUBELET_CONFIG_DROPIN_DIR_ALPHA='
	else
		section journal
		within 20 journalctl -u "$unit" -n 40 --no-pager -o cat 2>/dev/null | head -c 16384
	fi

	# shellcheck disable=SC2009 # this is the benchmark's own command
	x=$(ps -ef 2>&1 | grep kubelet)
	section exhibit "$?" 'ps -ef | grep kubelet'
	printf '%.65536s' "$x"
}

# changes: the runs of fleet on this node that have not ended, and whether
# anybody sees to them (see remediate/supervisor.sh).
changes() {
	set +f
	for journal in "$R"/var/lib/fleet/runs/*/state; do
		set -f
		x=
		[ -s "$journal" ] && read -r x _ <"$journal"
		case $x in '' | committed | refused | rolled-back | rollback-failed) continue ;; esac
		run=${journal%/state}
		section change "${run##*/}"
		lines "$journal"
		section change-owner "${run##*/}"
		lines "${journal%/state}/owner"
	done
	set -f
	[ -z "${run-}" ] || {
		section supervisor
		within 20 systemctl show --no-pager fleet-change.service -p ActiveState,Description 2>/dev/null
	}
}

# closed: paths that root may not write to, as on a read-only file system.
closed() {
	[ "$uid" = 0 ] || return 0
	section closed
	IFS=$nl
	for f in $brought; do
		[ -f "$R$f" ] && [ ! -w "$R$f" ] && printf '%s\n' "$f"
	done
	unset IFS
}

times_of_all() {
	section times
	(
		cd "$R/" || exit
		IFS=$nl
		set --
		for f in $brought; do
			if [ -e ".$f" ]; then set -- "$@" ".$f"; fi
		done
		exec stat -L -c '%y|%z|%a|%U|%s|%h|%n' "$@" 2>/dev/null
	)
}

probe() {
	R=${1-}
	uid=$(id -u)
	section probe 1
	identity
	each file "$files"
	if [ "$first" = yes ]; then
		each listing "$dirs"
		discover
		changes
	else
		each config_dir "$dirs"
	fi
	closed
	times_of_all
	section end
}

probe "${1-}"
