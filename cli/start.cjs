/** Starts the CLI, whose sources are one bundled file: support/start/bundle.cjs. */
require("../support/start/bundle.cjs").load("cli");
