#!/bin/sh
# run.sh OUT JOB SECONDS: boots OUT with the folder JOB at /job, runs JOB/run there and prints what it prints; exits as it does.
# 124: not done in time. 125: the guest ended without a word; its console goes to standard error.
set -eu
out=$(realpath "$1") job=$(realpath "$2") seconds=$3
work=$(mktemp -d "${TMPDIR:-/tmp}/flipflap-guest-XXXXXX")
qemu=
trap '[ -z "$qemu" ] || kill "$qemu" 2>/dev/null || :; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM HUP
mkdir "$work/root"
cp -rL "$job" "$work/root/job"
# Archives may follow one another.
{ cat "$out/base.cpio"; cd "$work/root"; find job | "$out/busybox" cpio -o -H newc 2>/dev/null; } >"$work/initrd"
cd "$work"
status=0
# norandmaps: a program's start takes a third of the time where software emulates the CPU (QEMU 7.2).
timeout -k 5 "$seconds" qemu-system-x86_64 -M q35 -bios qboot.rom -accel tcg,thread=multi -cpu qemu64 -smp 2 -m 768 \
  -nodefaults -no-user-config -display none -monitor none -nic none -no-reboot -serial file:console -serial file:result \
  -kernel "$out/vmlinuz" -initrd initrd \
  -append "console=ttyS0 loglevel=4 panic=-1 norandmaps mitigations=off cryptomgr.notests" </dev/null &
qemu=$!
wait "$qemu" || status=$?
qemu=
sed -n '/^@@begin$/,/^@@end [0-9]*$/{/^@@/!p}' result
verdict=$(sed -n 's/^@@end \([0-9]*\)$/\1/p' result | tail -n 1)
if [ -n "$verdict" ]; then exit "$verdict"; fi
cat console >&2
[ "$status" != 124 ] && [ "$status" != 137 ] || exit 124
exit 125
