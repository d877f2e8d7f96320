#!/usr/bin/env bash
# Holds the dashboard to its tests: types, what is pure (vitest), and the pages in Debian's Chromium against a whole network of
# this build with a simulated Internet (Playwright, axe). Pictures of each page, light and dark, lie in web/test-results/pages/
# afterwards. The last line says how many tests passed.
#
# Everything that was started is ended by its process id.
set -euo pipefail
cd "$(dirname "$0")/.."

mmn=$(realpath --canonicalize-missing "${CARGO_TARGET_DIR:-target}")/debug/mmn
say() { printf 'check-web: %s\n' "$*" >&2; }

[ -x "$mmn" ] || { say "$mmn is not there: cargo build --workspace"; exit 1; }
command -v "${MMN_CHROMIUM:-chromium}" >/dev/null || { say "there is no Chromium: scripts/setup.sh --test installs it"; exit 1; }
PATH=$(scripts/node-env.sh):$PATH
MMN_NATS_SERVER=${MMN_NATS_SERVER:-$(scripts/nats-server.sh)}
export PATH MMN_NATS_SERVER
MMN_CHROMIUM=$(command -v "${MMN_CHROMIUM:-chromium}")
export MMN_CHROMIUM MMN=$mmn

# Browsers like to call home: it all runs in a network namespace that has loopback alone.
if [ "${1:-}" != --inside ]; then
    unshare=(unshare --net)
    [ "$(id -u)" -eq 0 ] || unshare+=(--map-root-user)
    if ! "${unshare[@]}" true; then
        say "needs a network namespace of its own, and ${unshare[*]} is refused here"
        exit 1
    fi
    scripts/build-web.sh
    exec "${unshare[@]}" "$0" --inside
fi
ip link set lo up

cd web
status=0
log=$(mktemp)
trap 'rm -f "$log"' EXIT
rm -rf test-results
npm run --silent check || status=1
for suite in test drive; do
    NO_COLOR=1 npm run --silent "$suite" 2>&1 | tee -a "$log" || status=1
done
# vitest says "Tests  32 passed", Playwright "9 passed" at the beginning of a line; files are not tests.
count() { awk -v what="$1" '/^ *Tests / || /^ +[0-9]+ (passed|failed|flaky|did not run)/ {
    for (i = 1; i < NF; i++) if ($(i + 1) ~ "^" what) n += $i } END { print n + 0 }' "$log"; }
passed=$(count passed)
failed=$(count failed)
[ "$passed" -gt 0 ] || status=1
printf '=== %d passed, %d failed in check-web\n' "$passed" "$failed"
exit "$status"
