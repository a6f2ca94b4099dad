import type { Schemas } from "../api/client";
import type { Tone } from "../look/Tag";

/** What can be done about a finding. */
export type Standing = Schemas["Finding"]["standing"];

interface Words {
  /** In the list of filters. */
  choice: string;
  /** On a row; nothing for what is simply missing. */
  tag?: [Tone, string];
  /** What it means, in a sentence. */
  means: string;
  /** In place of a decision, where there is none to make. */
  instead?: string;
}

/** The standings in the words of administrators, in the order of the filter. */
export const standings: Record<Standing, Words> = {
  installable: { choice: "Can be installed", means: "A deployment installs it once it is approved" },
  bulletin: {
    choice: "Bulletins: nothing to install",
    tag: ["note", "Bulletin"],
    means:
      "The machine lacks it, but there is nothing that Fettle may install; open it to see why and what to do instead",
    instead: "Nothing to install",
  },
  user_only: {
    choice: "Products of single users",
    tag: ["info", "One user's"],
    means: "Only single users have the product, for themselves; Fettle installs for the whole machine",
    instead: "Up to the user",
  },
  broken: {
    choice: "Half installed",
    tag: ["bad", "Half installed"],
    means: "The installation of the newest version was begun and did not end well",
  },
  held: {
    choice: "Held",
    tag: ["info", "Held"],
    means: "The machine's administrator holds the package at its version",
  },
  pinned: {
    choice: "Pinned",
    tag: ["info", "Pinned"],
    means: "The machine's package preferences keep the newer version away",
    instead: "Kept away",
  },
  unknown: {
    choice: "Not certain",
    tag: ["note", "Not certain"],
    means: "A test could not be answered; the reason says which",
  },
};

/** The word of an address, if it is one. */
export function standingFrom(word: unknown): Standing | undefined {
  return typeof word === "string" && Object.hasOwn(standings, word) ? (word as Standing) : undefined;
}

/** Whether somebody has to decide about it before something happens. */
export function decidable(standing: Standing): boolean {
  return !standings[standing].instead;
}
