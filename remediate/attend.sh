# Attends to a run on the node: hands over fleet's word, waits for the journal,
# and brings it. The lines in front set:
#   word     confirm, abort or nothing; reason and message go with it
#   fence    yes: a run without a journal shall never begin
#   resume   yes: start the supervisor of a run that was left behind
#   bring    yes: bring the files of the run and their backups too
#   patience how long to wait, in seconds

# shellcheck disable=SC2154 # set in front

now() {
	read -r now _ </proc/uptime
	now=${now%.*}
}

# look sets $current, "" for no journal, and $ended.
look() {
	current='' ended=''
	if [ -s "$dir/state" ]; then read -r current _ <"$dir/state"; fi
	case $current in
	committed | refused | rolled-back | rollback-failed) ended=yes ;;
	rolling-back) word='' ;; # whatever fleet wanted to say, it is too late
	waiting) [ -n "$word" ] || ended=yes ;;
	esac
}

say() {
	[ -d "$dir" ] || return 0
	write_word "$1" && return
	rm -f "$dir/room" # it was kept for this
	write_word "$1"
}

write_word() {
	{ printf '%s\n%s\n' "$reason" "$message" >"$dir/$1.new" && mv -f "$dir/$1.new" "$dir/$1"; } 2>/dev/null
}

follow() {
	now
	limit=$((now + patience)) missing=0
	while look; [ -z "$ended" ]; do
		now
		[ "$now" -lt "$limit" ] || return 0
		# Twice, so that a journal written meanwhile is not missed.
		if held; then missing=0; else missing=$((missing + 1)); fi
		[ "$missing" -lt 3 ] || return 0
		sleep 1
	done
}

attend() {
	R=${1-}
	dir=$R/var/lib/fleet/runs/$run
	if [ "$fence" = yes ]; then
		look
		if [ -z "$current" ] && mkdir -p "$dir"; then say abort; fi
	fi
	look
	if [ -n "$word" ] && [ -z "$ended" ]; then say "$word"; fi
	if [ "$resume" = yes ] && [ -z "$ended" ] && ! held; then launch; fi
	[ ! -d "$dir" ] || follow
	tell
}

tell() {
	section fleet 1
	section state
	if [ -s "$dir/state" ]; then cat "$dir/state"; fi
	section supervisor
	if held; then echo yes; else echo no; fi
	section log
	tail -n 60 "$dir/log" 2>/dev/null
	for f in "$dir"/evidence/*.command; do
		[ -e "$f" ] || continue
		code=
		read -r code 2>/dev/null <"${f%.command}.exit"
		section evidence "${code:-0}" "$(cat "$f")"
		cat "${f%.command}.out" 2>/dev/null
	done
	if [ "$bring" = yes ] && [ -r "$dir/files" ]; then
		section plan
		cat "$dir/plan"
		section files
		cat "$dir/files"
		while read -r n _ _ path; do
			section old "$n"
			cat "$dir/old.$n" 2>/dev/null
			section now "$n"
			cat "$R$path" 2>/dev/null
		done <"$dir/files"
	fi
	section end
}

attend "${1-}"
