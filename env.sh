# source env.sh: pulumi and flipflap for this project, with a local state that needs no account.
# Sourced by a POSIX shell from anywhere: bash and zsh tell the file's own place; others use the current folder.
if [ -n "${BASH_SOURCE:-}" ]; then _flipflap_file=${BASH_SOURCE}
elif [ -n "${ZSH_VERSION:-}" ]; then eval '_flipflap_file=${(%):-%x}'
else _flipflap_file=./env.sh
fi
FLIPFLAP_CODE=$(cd "$(dirname "$_flipflap_file")" && pwd -P)
# A root that the env.sh of another checkout has set gives way; one that somebody named stays.
[ "${FLIPFLAP_ROOT:-}" != "${FLIPFLAP_SOURCED:-}" ] || FLIPFLAP_ROOT=$FLIPFLAP_CODE
FLIPFLAP_SOURCED=$FLIPFLAP_CODE
unset _flipflap_file
case "$PATH:" in "$FLIPFLAP_CODE/bin:"*) ;; *) PATH="$FLIPFLAP_CODE/bin:$FLIPFLAP_CODE/.flipflap/bin:$PATH" ;; esac
PULUMI_HOME=$FLIPFLAP_CODE/.flipflap/pulumi
# metadata=skip: a killed Pulumi leaves no half-written file of attributes.
PULUMI_BACKEND_URL="file://$FLIPFLAP_ROOT/.flipflap/state?metadata=skip"
PULUMI_CONFIG_PASSPHRASE_FILE=$FLIPFLAP_ROOT/.flipflap/passphrase
PULUMI_SKIP_UPDATE_CHECK=true
PULUMI_DIY_BACKEND_DISABLE_CHECKPOINT_BACKUPS=true
export PATH FLIPFLAP_ROOT FLIPFLAP_SOURCED PULUMI_HOME PULUMI_BACKEND_URL PULUMI_CONFIG_PASSPHRASE_FILE PULUMI_SKIP_UPDATE_CHECK PULUMI_DIY_BACKEND_DISABLE_CHECKPOINT_BACKUPS
