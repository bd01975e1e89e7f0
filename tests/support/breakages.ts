/** What somebody changes by hand, a few at a time: drift is asked after each, and one repair mends all of a batch. */

export interface Breakage {
  readonly what: string;
  readonly command: string;
  /** Whose checks fail after it, and no others. */
  readonly objects: readonly string[];
  /** What mends others by the way: the agent looks at its systems where a container comes or goes. */
  readonly isAlone?: boolean;
}

export interface Batched<T> {
  readonly breakage: T;
  /** What of its batch was broken before. */
  readonly before: readonly T[];
  readonly isFirst: boolean;
  readonly isLast: boolean;
}

const mostInBatch = 6;

/** Where a test of a batch is tried again, its last one may have been mended: all begins anew. */
export async function breakAgain<T extends Breakage>(
  retries: number | undefined,
  before: readonly T[],
  repair: () => Promise<unknown>,
  change: (one: T) => Promise<unknown>,
): Promise<void> {
  if ((retries ?? 0) === 0) return;
  await repair();
  for (const one of before) await change(one);
}

/** In batches whose breakages share no object, so that each is seen by itself. */
export function inBatches<T extends Breakage>(breakages: readonly T[]): Batched<T>[] {
  const batches: T[][] = [];
  for (const one of breakages) {
    const isApart = (batch: readonly T[]): boolean =>
      [one, ...batch].every(({ isAlone }) => isAlone !== true) &&
      batch.every(({ objects }) => objects.every((name) => !one.objects.includes(name)));
    const free = batches.find((batch) => batch.length < mostInBatch && isApart(batch));
    if (free === undefined) batches.push([one]);
    else free.push(one);
  }
  return batches.flatMap((batch) =>
    batch.map((breakage, i) => ({ breakage, before: batch.slice(0, i), isFirst: i === 0, isLast: i === batch.length - 1 })),
  );
}
