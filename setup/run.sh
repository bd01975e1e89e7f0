#!/bin/sh
# npm run up|down|setup|test|bench|soak: all set-up that is missing, then the verb.
set -eu
code=$(cd "$(dirname "$0")/.." && pwd -P)
verb=$1
shift

. "$code/setup/bootstrap.sh"
if [ "$verb" = down ] && [ ! -e "$code/node_modules/.flipflap-lock" ]; then
  echo "Nothing to take down: this checkout was never set up."
  exit 0
fi
check_node
system_packages
npm_packages

cd "$code"
. ./env.sh
case $verb in
  test) exec node_modules/.bin/tsx tests/main.ts "$@" ;;
  soak) exec node_modules/.bin/tsx tests/soak/main.ts "$@" ;;
  bench) exec node_modules/.bin/tsx benches/main.ts "$@" ;;
  *) exec node cli/start.cjs "$verb" "$@" ;;
esac
