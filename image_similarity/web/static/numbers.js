// Numbers, sizes and times as people read them.

const whole = new Intl.NumberFormat("en");
const one = new Intl.NumberFormat("en", { maximumFractionDigits: 1 });
const UNITS = ["bytes", "kB", "MB", "GB", "TB"];

export const count = (number) => whole.format(number);
export const oneDecimal = (number) => one.format(number);

// Bytes, in powers of 1000 as disks are sold.
export function size(bytes) {
  const power = bytes < 1000 ? 0 : Math.min(UNITS.length - 1, Math.floor(Math.log10(bytes) / 3));
  return `${one.format(bytes / 1000 ** power)} ${UNITS[power]}`;
}

// "2026-11-22T00:37:18Z" as it is on record, in UTC, without the letters.
export const time = (text) => text && text.replace("T", " ").replace("Z", " UTC");
