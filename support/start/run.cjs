/** Pulumi's own runner of programs, with the program beside it in one bundle: both have one SDK. */
const program = () => require("../../index.ts");

require.extensions[".ts"] = (module) => {
  module.exports = program();
};
require("@pulumi/pulumi/cmd/run");
