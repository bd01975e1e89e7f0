/** Node requires this before Pulumi's runner of programs, and gets it and the program from one bundle: bundle.cjs. */
const { load } = require("./bundle.cjs");

const { [".js"]: loadFile } = require.extensions;
require.extensions[".js"] = (module, file) => {
  if (file.endsWith("/@pulumi/pulumi/cmd/run/index.js")) module.exports = load("program");
  else loadFile(module, file);
};
