/** Pulumi's own runner of programs, with the program beside it in one bundle: both have one SDK. */
const { realpathSync } = require("node:fs");

const program = () => require("../../index.ts");

require.extensions[".ts"] = (module, file) => {
  // One below the checkout: bundle.cjs.
  const ours = realpathSync(`${__dirname}/../index.ts`);
  if (realpathSync(file) !== ours) throw new Error(`${file} is not the program of this checkout, which is ${ours}: link to that one`);
  module.exports = program();
};
require("@pulumi/pulumi/cmd/run");
