#!/bin/sh
# Builds the dashboard into web/dist/site, where crates/anchor/build.rs finds it. What is unchanged since the last time is not
# built again, so that neither is the anchor.
set -eu
cd "$(dirname "$0")/../web"
PATH=$(../scripts/node-env.sh):$PATH
export PATH

if ! cmp -s package-lock.json node_modules/.lock; then
    npm ci --no-audit --no-fund --loglevel=error >&2
    cp package-lock.json node_modules/.lock
fi
# The contract's types are part of the sources.
sum=$(find src build public index.html package-lock.json vite.config.ts svelte.config.js ../contract/v1/mmn.ts -type f -exec sha256sum {} + |
    LC_ALL=C sort | sha256sum)
if [ -e dist/site/index.html ] && [ "$sum" = "$(cat dist/.built 2>/dev/null)" ]; then
    exit 0
fi
npm run --silent build >&2
printf '%s\n' "$sum" >dist/.built
