import { type Script, sh } from "./sh";

/**
 * First in the command of a daemon that listens at an address of its server, or its own: one that ends without the address is
 * started again later and later by dockerd, up to a minute after the address is there.
 */
export const awaitAddresses = (addresses: readonly string[]): Script => sh`
  for address in ${[...addresses]}; do
    # A service's address may be on no device (serviceAddress): it is local all the same.
    until ip -o route get "$address" 2>/dev/null | grep -q "^local "; do
      [ "\${said-}" = "$address" ] || echo "waiting for the address $address" >&2
      said=$address
      sleep 0.05
    done
  done
`;
