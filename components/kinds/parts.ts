/** What is planned for a server beside systems: host objects, and containers of flipflap's own. */
import type { ImageName } from "../../images/images";
import type { Secret } from "../config/types.gen";
import type { HostObject } from "../host/objectType";
import type { Requirement } from "./requirement";

/** Text with secrets in it, by their names. */
export type SecretText = readonly (string | { readonly secret: string })[];

/** A container of a kind's own, in the server's network namespace. */
export interface ContainerPlan {
  readonly container: string;
  /** Or in this overlay of docker's, to hold it there: without files, folders and capabilities. */
  readonly dockerNetwork?: string;
  readonly image: ImageName;
  readonly command: readonly string[];
  /** Without CAP_. */
  readonly capabilities: readonly string[];
  readonly files: readonly { readonly path: string; readonly content: SecretText }[];
  /**
   * Folders of the server: below the stack's own where they do not begin with a slash; read-only inside unless they are written.
   * Where mounts follow, what is mounted there later is seen too.
   */
  readonly folders: readonly {
    readonly server: string;
    readonly container: string;
    readonly mountsFollow?: boolean;
    readonly isWritten?: boolean;
  }[];
}

export type Part = HostObject | ContainerPlan;

/** A secret of a kind's own: a random word, or a file that a part of the authority makes (below the stack's folder there). */
export type KindSecret = Secret | { readonly name: string; readonly file: string };

export const isContainer = (part: Part): part is ContainerPlan => "image" in part;

/** What a server needs once for all networks of a kind, in the order in which it is made. */
export interface SharedParts {
  /** Only where the server is a hub: the authority on reachability (NVA). */
  readonly authority?: { readonly component: string; readonly parts: readonly Part[]; readonly requires: readonly Requirement[] };
  /** What the kind's hooks in the agent need: objects that are made before it, and what it is started with. */
  readonly agent?: {
    readonly parts: readonly HostObject[];
    readonly files: readonly { readonly path: string; readonly content: SecretText }[];
  };
  /** Before the networks. */
  readonly edge: readonly Part[];
  /** After the networks, before the systems. */
  readonly joints: readonly Part[];
  /** What an `up` waits for; nothing waits for it. */
  readonly settled: readonly HostObject[];
  /** Made after the server's systems, so that it goes before the first of them does. */
  readonly parting?: HostObject;
}

/** For kinds whose networks share nothing. */
export const nothingShared: SharedParts = { edge: [], joints: [], settled: [] };
