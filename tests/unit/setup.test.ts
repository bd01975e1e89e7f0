import { lstatSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, describe, expect, it, vi } from "vitest";
import { table } from "../../cli/table";
import { parseChanges } from "../../deploy/pulumi";
import { readFromTar } from "../../images/archive";
import { imageKey } from "../../images/cache";
import { images, type ImageName } from "../../images/images";
import { parseAptSources, sourcesList } from "../../images/sources";
import { ensureToolchain, newEnough, useVendorToolchain } from "../../setup/toolchain";
import { codeRoot } from "../../support/project";
import { isNewEnough } from "../../toolchain/go";

describe("versions", () => {
  it.each([
    ["v3.190.0", true],
    ["v3.250.1", true],
    ["v4.0.0", true],
    ["v3.189.9", false],
    ["nonsense", false],
  ])("of Pulumi: %s is new enough: %s", (text, expected) => expect(newEnough(text)).toBe(expected));
  it.each([
    ["go version go1.26.8 linux/amd64", true],
    ["go version go1.24 linux/amd64", true],
    ["go version go1.19.8 linux/amd64", false],
  ])("of Go: %s is new enough: %s", (text, expected) => expect(isNewEnough(text)).toBe(expected));
});

describe("apt's sources", () => {
  const deb822 =
    "Types: deb\n# a remark\nURIs: http://mirror.example/debian\nSuites: bookworm bookworm-updates\nComponents: main\nSigned-By: /k.gpg\n\nTypes: deb\nURIs: http://mirror.example/other\nSuites: nodistro\nComponents: main\n";
  it("are read in both forms, and only this release's are used", () => {
    const sources = parseAptSources([
      { name: "debian.sources", text: deb822 },
      {
        name: "more.list",
        text: "# deb http://no.example x main\ndeb [signed-by=/s.gpg] http://sec.example/debian bookworm-security main\ndeb http://cloud.example stable main\n",
      },
    ]);
    expect(sourcesList(sources, ["main", "non-free"])).toBe(
      "deb [signed-by=/k.gpg] http://mirror.example/debian bookworm main non-free\ndeb [signed-by=/k.gpg] http://mirror.example/debian bookworm-updates main non-free\ndeb [signed-by=/s.gpg] http://sec.example/debian bookworm-security main non-free\n",
    );
  });
});

describe("images", () => {
  it("have keys of their own", () => {
    const keys = (Object.keys(images) as ImageName[]).map(imageKey);
    expect(new Set(keys).size).toBe(keys.length);
  });
  it("says when a file is no archive", () => {
    expect(readFromTar(join(process.cwd(), "package.json"), "manifest.json")).toBeUndefined();
  });
});

describe("the vendor's installer", () => {
  const folder = mkdtempSync(join(tmpdir(), "flipflap-vendor-"));
  afterEach(() => {
    vi.unstubAllEnvs();
    rmSync(folder, { recursive: true, force: true });
  });

  /** A stand-in on loopback: an installer that does what it is told. */
  async function withInstaller<T>(status: number, script: string, work: () => Promise<T>): Promise<T> {
    const server = createServer((_, response) => response.writeHead(status).end(script));
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    vi.stubEnv("FLIPFLAP_VENDOR_INSTALLER", `http://127.0.0.1:${(server.address() as AddressInfo).port}`);
    try {
      return await work();
    } finally {
      server.close();
    }
  }
  const spoken = (): { lines: string[]; restore: () => void } => {
    const lines: string[] = [];
    const spy = vi.spyOn(process.stderr, "write").mockImplementation((text) => lines.push(String(text)) > 0);
    return { lines, restore: () => spy.mockRestore() };
  };
  const install = (version: string): string =>
    `#!/bin/sh\nset -eu\n[ "$1" = --install-root ]\nmkdir -p "$2/bin"\nprintf '#!/bin/sh\\necho ${version}\\n' >"$2/bin/pulumi"\nchmod +x "$2/bin/pulumi"\n`;

  it("is used where it works", async () => {
    expect(await withInstaller(200, install("v3.200.0"), () => useVendorToolchain(folder))).toBe(true);
  });
  it.each([
    [404, "gone", "answers 404"],
    [200, "#!/bin/sh\necho broken >&2\nexit 7\n", "the installer ended with 7: broken"],
    [200, install("v3.100.0"), "it gave version v3.100.0, and 3.190.0 is needed"],
  ])("falls back with one line that says why (%s)", async (status, script, why) => {
    const { lines, restore } = spoken();
    try {
      expect(await withInstaller(status, script, () => useVendorToolchain(folder))).toBe(false);
    } finally {
      restore();
    }
    expect(lines.length).toBe(1);
    expect(lines[0]).toContain(why);
    expect(lines[0]).toContain("building the toolchain from package registries instead");
  });
  it("falls back where nobody answers", async () => {
    vi.stubEnv("FLIPFLAP_VENDOR_INSTALLER", "http://127.0.0.1:1");
    const { lines, restore } = spoken();
    try {
      expect(await useVendorToolchain(folder)).toBe(false);
    } finally {
      restore();
    }
    expect(lines.length).toBe(1);
  });
});

describe("the toolchain that is set up", () => {
  it("stays as it is when it is looked for again: another up may be about to start a part of it", async () => {
    const there = (): string[] =>
      ["bin", "pulumi/plugins"].flatMap((folder) => {
        const root = join(codeRoot, ".flipflap", folder);
        return readdirSync(root, { recursive: true, encoding: "utf8" }).map(
          (path) => `${path} ${lstatSync(join(root, path), { bigint: true }).ctimeNs}`,
        );
      });
    await ensureToolchain();
    const before = there();
    expect(before.join("\n")).toContain("pulumi-resource-random");
    await ensureToolchain();
    expect(there()).toEqual(before);
  });
});

describe("the CLI", () => {
  it("reads Pulumi's summary", () => {
    expect(parseChanges("x\nResources:\n    + 3 created\n    ~ 2 updated\n    +-1 replaced\n    - 4 deleted\n    30 unchanged\n")).toEqual({
      created: 3,
      updated: 2,
      replaced: 1,
      deleted: 4,
      same: 30,
    });
    expect(parseChanges("\nResources:\n    ~ 7 to update\n    29 unchanged\n")).toMatchObject({ updated: 7, same: 29 });
  });
  it("lines tables up", () => {
    expect(table(["A", "LONG"], [["xyz", "1"]])).toBe("A    LONG\nxyz  1");
  });
});
