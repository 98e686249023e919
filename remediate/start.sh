# Starts a change: puts the plan and the supervisor into the run's folder and
# has systemd run it. The payload function in front writes the files.

# shellcheck disable=SC2154 # assigned in front

start() {
	R=${1-}
	[ "$(id -u)" = 0 ] || refuse not-root "the change wants root, this is user $(id -un)"
	command -v systemd-run >/dev/null || refuse supervisor-failed "the node has no systemd-run"
	base=$R/var/lib/fleet/runs
	dir=$base/$run
	said=$( { mkdir -p "$base" && chmod 700 "$R/var/lib/fleet" "$base" && mkdir "$dir"; } 2>&1) || refuse_write "$said"
	said=$( { payload && keep_room; } 2>&1) || {
		why=$said
		said=$(keep_room 2>&1) || why=$said # says more than the shell's own printf does
		rm -rf "$dir"
		refuse_write "$why"
	}
	while read -r n _ new path; do
		digest "$dir/new.$n"
		[ "$digest" = "$new" ] || {
			rm -rf "$dir"
			refuse write-failed "the new content of $path did not arrive whole"
		}
	done <"$dir/files"
	sync "$dir"/* 2>/dev/null
	launch || {
		rm -rf "$dir"
		held || refuse supervisor-failed "systemd-run: $said"
		property Description
		refuse node-locked "another change is under way: $value"
	}
	section fleet 1
	section started
	section end
}

# keep_room takes the room on the disk that the journal will need, so that a
# disk that fills up meanwhile cannot keep it from being written.
keep_room() { head -c 65536 /dev/zero >"$dir/room"; }

refuse_write() {
	case $1 in
	*"No space left"* | *"Disk quota"*) refuse disk-full "$1" ;;
	*"Read-only file system"*) refuse read-only "$1" ;;
	esac
	refuse write-failed "$1"
}

start "${1-}"
