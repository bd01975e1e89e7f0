import { inject } from "vitest";

/** The project of the lab that this file has to itself while it runs. */
export function ownRoot(): string {
  const root = inject("roots")[Number(process.env.VITEST_POOL_ID) - 1];
  if (root === undefined) throw new Error(`there is no lab for worker ${process.env.VITEST_POOL_ID}`);
  return root;
}
