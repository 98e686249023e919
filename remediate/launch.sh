# What the scripts that fleet sends have in common. The lines in front of it set
# nonce, run and owner.

# shellcheck disable=SC2034,SC2154 # set in front, used behind

set -u
LC_ALL=C
export LC_ALL
unset IFS
umask 077

section() { printf '\n--%s %s\n' "$nonce" "$*"; }

# refuse REASON MESSAGE: nothing was begun.
refuse() {
	section fleet 1
	section refused "$1"
	printf '%s\n' "$2"
	section end
	exit 0
}

# digest FILE: sets $digest.
digest() {
	digest=$(sha256sum <"$1" 2>/dev/null)
	digest=${digest%% *}
}

property() {
	value=$(systemctl show "$lock" -p "$1" 2>/dev/null </dev/null)
	value=${value#*=}
}

# The unit is the lock: systemd runs one of a name, and forgets it when it ends.
lock=fleet-change.service

# held: a supervisor is there, or comes back.
held() {
	property ActiveState
	case $value in
	active | activating | deactivating | reloading) return 0 ;;
	esac
	return 1
}

# launch starts the supervisor of the run; $said is why it could not.
launch() {
	said=$(systemd-run --quiet --collect --unit="$lock" --description="fleet run $run by $owner" \
		-p Restart=on-failure -p RestartSec=1s -p TimeoutStopSec=60s -p OOMScoreAdjust=-900 \
		/bin/sh "$dir/supervisor.sh" "$R" 2>&1 </dev/null)
}
