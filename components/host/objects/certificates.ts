/**
 * A small authority of the testbed's own: its key never leaves the server, and each leaf has a folder with certificate, key
 * and the authority's certificate. `bundle.pem` holds all three, in this order, for who needs them elsewhere.
 */
import { sections } from "../json";
import { type ObjectType, ownerFolder } from "../objectType";
import { sh } from "../sh";

export interface Leaf {
  readonly name: string;
  /** IP addresses that it answers for. */
  readonly addresses: readonly string[];
  readonly uses: readonly ("serverAuth" | "clientAuth")[];
}

export interface CertificatesSpec {
  /** Below the stack's; one authority has one. Default: that of the kinds' stores. */
  readonly folder?: string;
  readonly leaves: readonly Leaf[];
  /** Containers that read it at their start, and whose folder is another one once this one was made again. */
  readonly readers?: readonly string[];
}

export const certificatesFolder = "ca";

/** Below the stack's folder. */
export const leafFolder = (leaf: string, folder: string = certificatesFolder): string => `${folder}/${leaf}`;
export const leafBundle = (leaf: string, folder?: string): string => `${leafFolder(leaf, folder)}/bundle.pem`;

const validDays = 3650;
/** A server whose clock is behind the hub's takes it as well; only `openssl ca` sets a beginning (3.0). */
const settings = (folder: string): string =>
  [
    ...["[ca]", "default_ca = own", "[own]", `database = ${folder}/index`, `new_certs_dir = ${folder}`, "rand_serial = yes"],
    ...["unique_subject = no", "policy = names", "[names]", "organizationName = supplied", "commonName = supplied"],
  ].join("\n");
/** What is left of a leaf's life when a check finds it wanting. */
const renewSeconds = 30 * 24 * 3600;

const authorityText = ["basicConstraints=critical,CA:TRUE", "keyUsage=critical,keyCertSign", "subjectKeyIdentifier=hash"].join("\n");

const leafText = ({ addresses, uses }: Leaf): string =>
  [
    `extendedKeyUsage=${uses.join(",")}`,
    ...(addresses.length > 0 ? [`subjectAltName=${addresses.map((a) => `IP:${a}`).join(",")}`] : []),
  ].join("\n");

export const certificates: ObjectType<CertificatesSpec> = {
  type: "certificates",
  identity: ({ folder }) => (folder === undefined ? [] : [folder]),
  ensure: ({ leaves, folder = certificatesFolder, readers = [] }, owner) => sh`
    umask 077
    renewed=
    dir="$folder/"${folder}
    mkdir -p "$dir/authority"
    # sign REQUEST CERTIFICATE EXTENSIONS OPTIONS...
    sign() {
      at_work="$dir/authority/work"
      rm -rf "$at_work"; mkdir -p "$at_work"; : >"$at_work/index"
      printf '%s\n' ${settings("@")} | sed "s|@|$at_work|" >"$at_work/config"
      printf '%s\n' "$3" >"$at_work/extensions"
      request=$1 certificate=$2; shift 3
      openssl ca -batch -notext -config "$at_work/config" -keyfile "$dir/authority/ca.key" -md sha256 -days ${validDays} \
        -startdate "$(date -u -d '-1 day' +%Y%m%d%H%M%SZ)" -extfile "$at_work/extensions" "$@" -in "$request" -out "$at_work/made" 2>"$at_work/said" ||
        { cat "$at_work/said" >&2; exit 1; }
      mv "$at_work/made" "$certificate"
      rm -rf "$at_work"
    }
    new_key() { openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out "$1" 2>/dev/null; }
    if ! openssl x509 -in "$dir/authority/ca.crt" -noout 2>/dev/null; then
      new_key "$dir/authority/ca.key"
      openssl req -new -key "$dir/authority/ca.key" -subj ${`/O=flipflap/CN=flipflap ${owner.stack}`} -out "$dir/authority/request"
      sign "$dir/authority/request" "$dir/authority/ca.crt" ${authorityText} -selfsign
      rm "$dir/authority/request"
    fi
    leaf() {
      at="$dir/$1"
      mkdir -p "$at"
      if [ "$(cat "$at/extensions" 2>/dev/null)" = "$2" ] &&
        openssl verify -CAfile "$dir/authority/ca.crt" "$at/tls.crt" >/dev/null 2>&1 &&
        openssl x509 -in "$at/tls.crt" -noout -checkend ${renewSeconds} >/dev/null && [ -e "$at/bundle.pem" ]; then return 0; fi
      renewed=1
      rm -f "$at/bundle.pem"
      printf '%s\n' "$2" >"$at/extensions"
      new_key "$at/tls.key"
      openssl req -new -key "$at/tls.key" -subj "/O=flipflap/CN=$1" -out "$at/request"
      sign "$at/request" "$at/tls.crt" "$2" -cert "$dir/authority/ca.crt"
      rm "$at/request"
      cp "$dir/authority/ca.crt" "$at/ca.crt"
      cat "$at/tls.crt" "$at/tls.key" "$at/ca.crt" >"$at/.bundle.pem"
      mv "$at/.bundle.pem" "$at/bundle.pem"
    }
    ${leaves.map((leaf) => sh`leaf ${leaf.name} ${leafText(leaf)}`)}
    if [ -n "$renewed" ]; then
      for reader in ${[...readers]}; do
        if [ "$(docker inspect -f '{{.State.Running}}' "$reader" 2>/dev/null)" = true ]; then docker restart -t 2 "$reader" >/dev/null; fi
      done
    fi
  `,
  remove: ({ folder = certificatesFolder }) => sh`
    rm -rf "$folder/"${folder}
    prune
  `,
  check: ({ leaves, folder = certificatesFolder }, owner) => sh`
    dir=${`${ownerFolder(owner)}/${folder}`}
    for leaf in ${leaves.map((leaf) => leaf.name)}; do
      [ -e "$dir/$leaf/tls.crt" ] || continue
      echo "=== $leaf"
      if openssl verify -CAfile "$dir/authority/ca.crt" "$dir/$leaf/tls.crt" >/dev/null 2>&1 &&
        openssl x509 -in "$dir/$leaf/tls.crt" -noout -checkend ${renewSeconds} >/dev/null; then echo valid; else echo "not valid"; fi
    done
  `,
  wanted: ({ leaves }) => Object.fromEntries(leaves.map((leaf) => [leaf.name, "valid"])),
  found: (output) => {
    const found = Object.fromEntries(sections(output));
    return Object.keys(found).length === 0 ? undefined : found;
  },
};
