// Imports go one way: index.ts -> models -> host -> net, config -> net. See CONTRIBUTING.md.
import js from "@eslint/js";
import typescript from "typescript-eslint";

const pulumiPackages = ["@pulumi/*", "@pulumi/**"];
const providers = ["@pulumi/command", "@pulumi/docker", "@pulumi/random"];
const outer = ["**/cli/**", "**/setup/**", "**/tests/**", "**/experiments/**"];
const models = ["server", "nve", "nva", "agent", "tenantSystem", "secrets"].map((model) => `**/${model}/*`);

const forbid = (files, patterns) => ({
  files,
  rules: { "no-restricted-imports": ["error", { patterns: patterns.map(([group, message]) => ({ group, message })) }] },
});

export default typescript.config(
  { ignores: ["node_modules/", ".flipflap/", "results/", "**/types.gen.ts", "eslint.config.mjs"] },
  js.configs.recommended,
  ...typescript.configs.strict,
  ...typescript.configs.stylistic,
  {
    rules: {
      "no-console": "off",
      "@typescript-eslint/consistent-type-imports": ["error", { fixStyle: "inline-type-imports" }],
      "@typescript-eslint/no-extraneous-class": "off",
      "@typescript-eslint/no-unused-vars": [
        "error",
        { argsIgnorePattern: "^_", varsIgnorePattern: "^_", destructuredArrayIgnorePattern: "^_" },
      ],
    },
  },
  {
    // They run before there is anything that understands TypeScript.
    files: ["**/*.cjs"],
    languageOptions: {
      sourceType: "commonjs",
      globals: { __dirname: "readonly", Buffer: "readonly", process: "readonly", setTimeout: "readonly" },
    },
    rules: { "@typescript-eslint/no-require-imports": "off" },
  },
  forbid(
    ["components/net/**/*.ts"],
    [
      [pulumiPackages, "components/net is pure: no Pulumi"],
      [["node:fs", "node:child_process", "node:net", "node:http"], "components/net is pure: no I/O"],
      [["../config/**", "../host/**", "../kinds/**", ...outer], "components/net imports nothing of the project but itself"],
    ],
  ),
  forbid(
    ["components/config/**/*.ts"],
    [
      [pulumiPackages, "components/config knows no Pulumi"],
      [["../host/**", "../kinds/**", "../testbed/**", ...outer], "config imports net only"],
    ],
  ),
  forbid(
    ["components/host/objects/**/*.ts", "components/host/{sh,script,json,objectType,sshConfig}.ts"],
    [
      [pulumiPackages, "host objects are texts: no Pulumi"],
      [["**/kinds/**", "**/testbed/**", ...outer], "host imports config and net only"],
    ],
  ),
  forbid(["components/host/*.ts"], [[["**/kinds/**", "**/testbed/**", ...outer], "host imports config and net only"]]),
  forbid(
    ["components/kinds/**/*.ts"],
    [
      [pulumiPackages, "a kind plans with data; components render"],
      [[...models, ...outer], "a kind imports host objects, config and net"],
    ],
  ),
  forbid(
    ["components/{server,nve,nva,agent,tenantSystem,secrets,testbed}/*.ts"],
    [
      [
        providers.filter((name) => name !== "@pulumi/random" && name !== "@pulumi/command").concat(outer),
        "only components/host speaks to the providers",
      ],
      [models, "a model uses another only through its index.ts"],
    ],
  ),
  {
    files: ["components/server/server.ts"],
    // Facts are a remote command whose output is kept; the docker provider's type is handed on.
    rules: { "no-restricted-imports": "off" },
  },
  {
    files: ["tests/**/*.ts"],
    rules: { "@typescript-eslint/no-non-null-assertion": "off" },
  },
);
