/** random:index/randomPassword:RandomPassword. */
import { randomInt } from "node:crypto";
import type { Plugin, ResourceType } from "../plugin";

const letters = "abcdefghijklmnopqrstuvwxyz";
const digits = "0123456789";
const specials = "!@#$%&*()-_=+[]{}<>:?";

export function password(length: number, special: boolean): string {
  const alphabet = letters + letters.toUpperCase() + digits + (special ? specials : "");
  return Array.from({ length }, () => alphabet[randomInt(alphabet.length)]).join("");
}

const randomPassword: ResourceType = {
  inputs: { length: true, special: true },
  replacing: "all",
  create: async (inputs) => ({
    id: "none",
    outs: { ...inputs, result: password(Number(inputs.length), inputs.special !== false) },
  }),
};

export const randomPlugin: Plugin = {
  name: "random",
  version: "4.21.2",
  config: {},
  resources: { "random:index/randomPassword:RandomPassword": randomPassword },
};
