/**
 * Journeys as a capture file (pcapng): an interface for each server and device, and the journey as each packet's comment. Headers are
 * written from what the tracer has read; payload is not, and checksums are 0. Pure.
 */
import type { TracePacket } from "../../host/contract/types.gen";
import { parseAddress } from "../../net/cidr";
import { type Journey, type PlacedStep, stepsOf } from "./journey";
import { placeOf } from "./words";

const u16 = (value: number): number[] => [(value >> 8) & 255, value & 255];
const u32 = (value: number): number[] => [...u16(value >>> 16), ...u16(value & 0xffff)];

function addressBytes(text: string): number[] {
  const address = parseAddress(text);
  if (address === undefined) return [0, 0, 0, 0];
  const bytes = address.family === 4 ? 4 : 16;
  return Array.from({ length: bytes }, (_, i) => Number((address.value >> BigInt(8 * (bytes - 1 - i))) & 255n));
}

const vxlanPort = 4789;
const protocolUdp = 17;

/** The upper header; empty for protocols whose header is not read. */
function upper(packet: TracePacket): number[] {
  const { protocol, sourcePort, targetPort, sequence, acknowledged, tcpFlags, payloadBytes } = packet;
  if (packet.flags?.includes("later fragment") === true) return [];
  switch (protocol) {
    case 1:
    case 58:
      return [...u16(sourcePort), 0, 0, ...u16(targetPort), ...u16(sequence)];
    case 6:
      return [...u16(sourcePort), ...u16(targetPort), ...u32(sequence), ...u32(acknowledged), 0x50, tcpFlags, 0, 0, 0, 0, 0, 0];
    case protocolUdp:
      return [...u16(sourcePort), ...u16(targetPort), ...u16(payloadBytes + 8), 0, 0];
  }
  return [];
}

function network(packet: TracePacket): number[] {
  const { type, protocol, source, target, payloadBytes, hops, id, sequence } = packet;
  if (type === 2054)
    return [
      ...u16(1),
      ...u16(2048),
      6,
      4,
      ...u16(sequence),
      ...new Array<number>(6).fill(0),
      ...addressBytes(source),
      ...new Array<number>(6).fill(0),
      ...addressBytes(target),
    ];
  const head = upper(packet);
  const length = head.length + payloadBytes;
  const [from, to] = [addressBytes(source), addressBytes(target)];
  if (type === 34525) return [0x60, 0, 0, 0, ...u16(length), protocol, hops, ...from, ...to, ...head];
  if (type === 2048) return [0x45, 0, ...u16(20 + length), ...u16(id), 0, 0, hops, protocol, 0, 0, ...from, ...to, ...head];
  return [];
}

const ethernet = (type: number): number[] => [...new Array<number>(12).fill(0), ...u16(type)];

/** A frame's beginning, as far as it is known. */
function frame(packet: TracePacket): number[] {
  const { tunnel } = packet;
  if (tunnel === undefined) return [...ethernet(packet.type), ...network(packet)];
  const inside =
    tunnel.kind === "vxlan"
      ? [8, 0, 0, 0, ...u32(tunnel.number << 8), ...ethernet(packet.type), ...network(packet)]
      : [...u32(tunnel.number), ...u32(packet.sequence)];
  const outside: TracePacket = {
    ...packet,
    type: tunnel.source.includes(":") ? 34525 : 2048,
    source: tunnel.source,
    target: tunnel.target,
    protocol: tunnel.kind === "vxlan" ? protocolUdp : 50,
    sourcePort: 0,
    targetPort: vxlanPort,
    payloadBytes: inside.length + (tunnel.kind === "vxlan" ? packet.payloadBytes : 0),
    id: 0,
    hops: 64,
    flags: [],
  };
  return [...ethernet(outside.type), ...network(outside), ...inside];
}

const little = (value: number, bytes: 2 | 4): Buffer => {
  const buffer = Buffer.alloc(bytes);
  if (bytes === 2) buffer.writeUInt16LE(value);
  else buffer.writeUInt32LE(value >>> 0);
  return buffer;
};

const padded = (data: Buffer): Buffer => Buffer.concat([data, Buffer.alloc((4 - (data.length % 4)) % 4)]);
const option = (code: number, data: Buffer): Buffer => Buffer.concat([little(code, 2), little(data.length, 2), padded(data)]);
const endOfOptions = Buffer.alloc(4);

function block(type: number, ...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts);
  const length = little(body.length + 12, 4);
  return Buffer.concat([little(type, 4), length, body, length]);
}

const [sectionHeader, interfaceDescription, enhancedPacket] = [0x0a0d0d0a, 1, 6];
const byteOrder = 0x1a2b3c4d;
const linkEthernet = 1;
const [optionComment, optionName, optionResolution] = [1, 2, 9];

/** Times are of each server's own clock. */
export class Capture {
  private readonly blocks: Buffer[] = [block(sectionHeader, little(byteOrder, 4), little(1, 2), little(0, 2), Buffer.alloc(8, 0xff))];
  private readonly interfaces = new Map<string, number>();
  private count = 0;

  private interfaceOf(step: PlacedStep): number {
    const name = `${step.server} ${placeOf(step) === step.server ? "" : `${placeOf(step)} `}${step.device}`;
    const known = this.interfaces.get(name);
    if (known !== undefined) return known;
    const number = this.interfaces.size;
    this.interfaces.set(name, number);
    this.blocks.push(
      block(
        interfaceDescription,
        little(linkEthernet, 2),
        little(0, 2),
        little(0, 4),
        option(optionName, Buffer.from(name)),
        // Nanoseconds.
        option(optionResolution, Buffer.from([9])),
        endOfOptions,
      ),
    );
    return number;
  }

  /** A packet at each of the points where a packet was. */
  add(journey: Journey): void {
    const number = ++this.count;
    for (const step of stepsOf(journey)) {
      if (step.point === "net_dev_xmit") continue;
      const at = this.interfaceOf(step);
      const data = Buffer.from(frame(step.seen));
      const time = BigInt(Math.round(step.atNs));
      const comment = `journey ${number}${journey.isAmbiguous ? " (ambiguous)" : ""}: ${step.point}${step.reason === undefined ? "" : ` ${step.reason}`}`;
      this.blocks.push(
        block(
          enhancedPacket,
          little(at, 4),
          little(Number(time >> 32n), 4),
          little(Number(time & 0xffffffffn), 4),
          little(data.length, 4),
          little(Math.max(data.length, step.seen.bytes), 4),
          padded(data),
          option(optionComment, Buffer.from(comment)),
          endOfOptions,
        ),
      );
    }
  }

  get file(): Buffer {
    return Buffer.concat(this.blocks);
  }
}
