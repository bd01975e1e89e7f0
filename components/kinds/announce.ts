/** A system on an Ethernet segment tells where it is now. */
import { type Script, sh } from "../host/sh";
import { systemContainer } from "../net/names";
import type { Member } from "./contexts";

/** Frames to all from the new place: every bridge of the segment learns at once where the MAC is. */
export function announce(member: Member): Script {
  return sh`
    pid=$(docker inspect -f '{{.State.Pid}}' ${systemContainer(member.system)})
    nsenter -t "$pid" -n ping -n -q -b -c 1 -W 0.1 -I ${member.interface} 255.255.255.255 >/dev/null 2>&1 || :
    nsenter -t "$pid" -n ping -n -q -c 1 -W 0.1 ${`ff02::1%${member.interface}`} >/dev/null 2>&1 || :
  `;
}
