// Keeps records whose body has at least so many bytes, in AssemblyScript. The contract is in
// wasm-filters/host/README.md, the layout of a batch in wasm-filters/host/src/batch.rs. What the
// host reads without running anything is added by manifest.mjs.

let least: i64 = 0;

export function mr_abi_v1(): void {}

export function mr_alloc(len: u32, align: u32): usize {
  return align <= 16 ? heap.alloc(len) : 0;
}

export function mr_free(piece: usize, len: u32, align: u32): void {
  heap.free(piece);
}

// The one parameter. The host has seen to it that it is there and a whole number.
export function mr_init(params: usize, len: u32): i32 {
  let at: u32 = 0;
  while (at < len && load<u8>(params + at) != 0x3a) at++;
  if (at + 1 < len && load<u8>(params + at + 1) == 0x2d) return -1;
  for (at++; at < len; at++) {
    const digit = load<u8>(params + at) - 0x30;
    if (digit > 9) break;
    if (least > i32.MAX_VALUE) return -1;
    least = least * 10 + digit;
  }
  return 0;
}

export function mr_filter(batch: usize, len: u32, verdicts: usize): i32 {
  const count = load<u32>(batch + 8);
  const descriptions = batch + load<u32>(batch + 12);
  const stride = load<u32>(batch + 16);
  let kept = 0;
  for (let record: u32 = 0; record < count; record++) {
    const bytes: i64 = load<u32>(descriptions + record * stride + 28);
    const keeps: i32 = bytes >= least ? 1 : 0;
    store<u8>(verdicts + record, keeps);
    kept += keeps;
  }
  return kept;
}
