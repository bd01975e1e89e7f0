/** Our addresses on a NIC that is not ours. One that was there already is used and left alone. */
import { addressesOf, type IpAddresses, jsonList } from "../json";
import type { ObjectType } from "../objectType";
import { sh } from "../sh";

export interface AddressesSpec {
  readonly device: string;
  /** With prefix length. */
  readonly addresses: readonly string[];
}

export const addresses: ObjectType<AddressesSpec> = {
  type: "addresses",
  identity: (spec) => [spec.device],
  ensure: (spec) => sh`
    device=${spec.device}
    set -- ${[...spec.addresses]}
    has_link "$device" || fail "$device: this server has no such NIC"
    ours="$folder/saved/addresses.$device"
    has() { ip -o addr show dev "$device" | grep -qF " $1 "; }
    save "addresses.$device" ""
    for old in $(cat "$ours"); do
      for new in "$@"; do [ "$old" != "$new" ] || continue 2; done
      if has "$old"; then ip addr del "$old" dev "$device"; fi
    done
    : >"$ours.new"
    for new in "$@"; do
      if grep -qxF "$new" "$ours" || ! has "$new"; then printf '%s\n' "$new" >>"$ours.new"; fi
    done
    # Remembered before they are set: what is cut off in between is still known as ours.
    mv "$ours.new" "$ours"
    for new in $(cat "$ours"); do
      if has "$new"; then continue; fi
      case $new in *:*) ip addr add "$new" dev "$device" nodad ;; *) ip addr add "$new" dev "$device" ;; esac
    done
  `,
  remove: ({ device }) => sh`
    device=${device}
    ours="$folder/saved/addresses.$device"
    if [ -e "$ours" ] && has_link "$device"; then
      for old in $(cat "$ours"); do
        if ip -o addr show dev "$device" | grep -qF " $old "; then ip addr del "$old" dev "$device"; fi
      done
    fi
    forget "addresses.$device"
  `,
  check: ({ device }) => sh`if has_link ${device}; then ip -j addr show dev ${device}; fi`,
  wanted: ({ addresses: list }) => ({ addresses: [...list].sort() }),
  found: (output, spec) => {
    const listed = jsonList<IpAddresses>(output);
    if (listed.length === 0) return undefined;
    // Others' addresses on the NIC are none of our business.
    return { addresses: addressesOf(listed, spec.device).filter((a) => spec.addresses.includes(a)) };
  },
};
