/** Numbers and times in words. Time comes in as an argument. */

/** "1 machine", "3 machines"; thousands are parted as the reader's language does. */
export function count(n: number, one: string, many = `${one}s`): string {
  return `${n.toLocaleString()} ${n === 1 ? one : many}`;
}

const steps: [number, string][] = [
  [86_400, "day"],
  [3_600, "hour"],
  [60, "minute"],
];

/** A length of time in seconds as "3 hours"; below a minute "less than a minute". */
export function span(seconds: number): string {
  for (const [size, unit] of steps) {
    if (seconds >= size) return count(Math.floor(seconds / size), unit);
  }
  return "less than a minute";
}

/** How long ago a moment was: "3 hours ago", "just now", "never" for none. */
export function ago(moment: string | undefined, now: Date): string {
  const at = moment ? Date.parse(moment) : Number.NaN;
  // Go's zero time stands for "never".
  if (Number.isNaN(at) || at <= 0) return "never";
  const seconds = (now.getTime() - at) / 1000;
  return seconds < 60 ? "just now" : `${span(seconds)} ago`;
}

/** A moment in the reader's own format and time zone. */
export function moment(text: string | undefined): string {
  const at = text ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(at) || at <= 0) return "never";
  return new Date(at).toLocaleString(undefined, { dateStyle: "medium", timeStyle: "short" });
}

/** "waiting_for_window" as "waiting for window". */
export function plain(word: string): string {
  return word.replaceAll("_", " ");
}

/** A text with a capital first letter, as a line of its own begins. */
export function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** "waiting_for_window" as "Waiting for window". */
export function sentence(word: string): string {
  return capital(plain(word));
}

/** A part of 1 as a percentage; small ones keep a digit that says something. */
export function percent(part: number): string {
  return part.toLocaleString(undefined, { style: "percent", maximumSignificantDigits: 2 });
}

/** A size of at least a kilobyte as "1.4 MB"; powers of 1,000, as vendors give them. */
export function bytes(n: number): string {
  const units = ["kB", "MB", "GB", "TB"];
  let size = n / 1000;
  let unit = 0;
  while (size >= 1000 && unit < units.length - 1) {
    size /= 1000;
    unit++;
  }
  return `${size.toLocaleString(undefined, { maximumSignificantDigits: size < 10 ? 2 : 3 })} ${units[unit]}`;
}
