/** Long texts on their way to a server: as they are where people read them in a preview, compressed where they are many. */
import { gzipSync } from "node:zlib";
import { type Script, sh } from "./sh";

export type Packed = { readonly text: string } | { readonly gzip: string };

const readableBytes = 32 << 10;

export const packed = (text: string): Packed =>
  text.length <= readableBytes ? { text } : { gzip: gzipSync(text, { level: 9 }).toString("base64") };

/** Prints the text. */
export const unpack = (one: Packed): Script =>
  "text" in one ? sh`printf '%s' ${one.text}` : sh`printf '%s' ${one.gzip} | base64 -d | gzip -dc`;
