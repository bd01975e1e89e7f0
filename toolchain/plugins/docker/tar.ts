/** A tar of one file, as the engine takes files for a container (POSIX ustar). */

const blockBytes = 512;

export function tarOf(path: string, content: string, mode = 0o644): Buffer {
  const data = Buffer.from(content, "utf8");
  const header = Buffer.alloc(blockBytes);
  const name = path.replace(/^\/+/, "");
  // ustar keeps a name in two pieces that are cut at a slash: 155 bytes and 100.
  const cut = Buffer.byteLength(name) <= 100 ? -1 : name.lastIndexOf("/", 155);
  if (Buffer.byteLength(name.slice(cut + 1)) > 100) throw new Error(`uploads.file: ${path} is too long`);
  header.write(name.slice(cut + 1), 0);
  if (cut > 0) header.write(name.slice(0, cut), 345);
  const octal = (value: number, offset: number, width: number): number =>
    header.write(`${value.toString(8).padStart(width - 1, "0")}\0`, offset);
  octal(mode, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  octal(data.length, 124, 12);
  octal(0, 136, 12);
  header.write("        ", 148);
  header.write("0", 156);
  header.write("ustar\0", 257);
  header.write("00", 263);
  const sum = header.reduce((total, byte) => total + byte, 0);
  header.write(`${sum.toString(8).padStart(6, "0")}\0 `, 148);
  const padding = (blockBytes - (data.length % blockBytes)) % blockBytes;
  return Buffer.concat([header, data, Buffer.alloc(padding + 2 * blockBytes)]);
}
