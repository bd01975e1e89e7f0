/** All secrets of a testbed: the declared ones, those of the kinds that it uses, and those of capabilities. Pure. */
import { capabilities } from "../capabilities/registry";
import type { Declaration } from "../config/declaration";
import type { KindSecret } from "../kinds/parts";
import { allKinds } from "../kinds/registry";

export const kindSecrets: readonly KindSecret[] = allKinds.flatMap((kind) => kind.secrets);

export function secretsOf(declaration: Declaration): KindSecret[] {
  const used = allKinds.filter((kind) => declaration.testbed.networks.some((network) => network.kind === kind.kind));
  const added = capabilities.flatMap((capability) => capability.secrets?.(declaration) ?? []);
  return [...(declaration.testbed.secrets ?? []), ...used.flatMap((kind) => kind.secrets), ...added];
}
