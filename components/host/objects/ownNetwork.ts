/** Docker's networks that are ours, by their label. */
import { type Owner, stackLabel } from "../objectType";
import { type Script, sh } from "../sh";

export const ownLabel = ({ stack }: Owner): string => `${stackLabel}=${stack}`;

/** Succeeds where the network is there, fails the whole script where somebody else has its name: has_network NETWORK DRIVER */
export const hasNetwork = ({ stack }: Owner): Script => sh`
  has_network() {
    docker network inspect "$1" >/dev/null 2>&1 || return 1
    [ "$(docker network inspect -f '{{.Driver}} {{index .Labels "${stackLabel}"}}' "$1")" = "$2 "${stack} ] ||
      fail "$1: docker has a network of this name that is not ours; remove it, or rename what is declared"
  }
`;

/** Whether it is there and ours: owns_network NETWORK */
export const ownsNetwork = ({ stack }: Owner): Script => sh`
  owns_network() { [ "$(docker network inspect -f '{{index .Labels "${stackLabel}"}}' "$1" 2>/dev/null)" = ${stack} ]; }
`;
