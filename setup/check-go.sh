#!/bin/sh
# gofmt and vet for the Go modules of this project, with the Go that set-up uses.
set -eu
cd "$(dirname "$0")/../agent"
go=$(../node_modules/.bin/tsx -e 'require("../toolchain/go").goCommand().then((words) => console.log(words.join(" ")))')
unformatted=$("$(dirname "$(command -v "$go")")/gofmt" -l .)
[ -z "$unformatted" ] || { echo "gofmt: $unformatted" >&2; exit 1; }
"$go" vet ./...
