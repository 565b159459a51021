// Adds what the host reads of a module without running it. The compiler has no words for that, but
// runs this when it is done.
import { Transform } from "assemblyscript/transform";

const manifest = {
  abi: 1,
  sdk: "assemblyscript",
  name: "keep-large",
  version: "1.0.0",
  kinds: ["filter"],
  params: { required: ["bytes"], properties: { bytes: { type: "integer" } } },
};

export default class extends Transform {
  afterCompile(module) {
    const bytes = new TextEncoder().encode(JSON.stringify(manifest));
    module.addCustomSection("millrace.filter", bytes);
  }
}
