/** Starts an offline plugin from one bundled file: support/start/bundle.cjs. */
require("../../support/start/bundle.cjs").load("plugins");
