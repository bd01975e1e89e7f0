/** What a kind of host object is: pure texts that make it, take it away and look at it. */
import type { Script } from "./sh";

export type PropertyValue = string | number | boolean | readonly string[];
export type Properties = Readonly<Record<string, PropertyValue>>;

/** Whose object it is. Marks, saved values and folders carry the stack's name. */
export interface Owner {
  readonly stack: string;
}

export function ownerFolder(owner: Owner): string {
  return `/var/lib/flipflap/${owner.stack}`;
}

export function ownerMark(owner: Owner, name: string): string {
  return `flipflap:${owner.stack}:${name}`;
}

/** Whose a container is: its value is the stack's name. */
export const stackLabel = "flipflap.stack";

/** Whose a container is that a host object makes, of which no state knows the ID. */
export const objectLabel = "flipflap.object";

/** Something on a server that can be looked at. */
export interface CheckableType<S> {
  readonly type: string;
  /**
   * Prints what is there; prints nothing where the object is missing. Changes nothing. Objects whose checks are the same
   * text are looked at once, and `found` takes each its own.
   */
  check(spec: S, owner: Owner, name: string): Script;
  wanted(spec: S, owner: Owner): Properties;
  /** What `check` printed, by the same property names as `wanted`; undefined where the object is missing. */
  found(output: string, spec: S): Properties | undefined;
}

/** Something on a server that scripts make. `ensure` converges from any half-done point; `remove` touches own marks only. */
export interface ObjectType<S> extends CheckableType<S> {
  /** What it is known by: a change of these replaces the object, a change of anything else updates it in place. */
  identity(spec: S): readonly string[];
  /** It waits for others, so it must not hold the server's lock. */
  readonly waits?: boolean;
  /** Where it is replaced, the new one may be made before the old one goes: the two do not collide. */
  readonly createBeforeDelete?: boolean;
  ensure(spec: S, owner: Owner, name: string): Script;
  remove(spec: S, owner: Owner, name: string): Script;
}

/** An object as a plan declares it. */
export interface HostObject<S = unknown> {
  readonly type: ObjectType<S>;
  /** Unique among the objects of its parent; the resource is `<parent>-<name>`. */
  readonly name: string;
  readonly spec: S;
}

export function declare<S>(type: ObjectType<S>, name: string, spec: S): HostObject<S> {
  return { type, name, spec };
}

/** An object as a stack's outputs carry it. */
export interface DeployedObject {
  readonly type: string;
  readonly name: string;
  readonly spec: unknown;
}

export interface Difference {
  readonly property: string;
  readonly wanted: PropertyValue;
  readonly found: PropertyValue | null;
}

function same(a: PropertyValue, b: PropertyValue | undefined): boolean {
  return JSON.stringify(a) === JSON.stringify(b);
}

/** The properties in which what was found is not what was wanted; `missing` where there is no object at all. */
export function compare(wanted: Properties, found: Properties | undefined): "missing" | readonly Difference[] {
  if (found === undefined) return "missing";
  return Object.entries(wanted)
    .filter(([property, value]) => !same(value, found[property]))
    .map(([property, value]) => ({ property, wanted: value, found: found[property] ?? null }));
}
