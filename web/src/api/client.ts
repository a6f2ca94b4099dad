import createClient from "openapi-fetch";
import type { components, paths } from "./schema";

/** The words of the interface, as the server's own description names them. */
export type Schemas = components["schemas"];

/** The typed client; the browser's session cookie signs it in. */
export const api = createClient<paths>({
  baseUrl: "/",
  credentials: "same-origin",
  headers: { Accept: "application/json" },
  // Lists in an address are parted by commas, as the server's description says.
  querySerializer: { array: { style: "form", explode: false } },
});

/**
 * What the server answered instead of success: RFC 9457's problem with the
 * fault's code and a hint of what to do next.
 */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
    readonly hint?: string,
  ) {
    super(message);
    this.name = "Problem";
  }
}

/** Reads a problem out of whatever came back; never throws itself. */
export function problemOf(status: number, body: unknown): Problem {
  const p = (typeof body === "object" && body !== null ? body : {}) as Record<string, unknown>;
  const text = (v: unknown) => (typeof v === "string" && v !== "" ? v : undefined);
  const message = text(p.detail) ?? text(p.title) ?? `The server answered with status ${status}.`;
  return new Problem(status, text(p.code) ?? "", message, text(p.hint));
}

/** The server did not answer at all. */
function unreachable(): Problem {
  return new Problem(
    0,
    "unavailable",
    "The server can't be reached.",
    "Check that Fettle still runs and that this computer has a network; this page tries again by itself.",
  );
}

/** Makes a problem of anything that was thrown. */
export function asProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  const said = error instanceof Error ? error.message : String(error);
  return new Problem(-1, "internal", "The console has a defect here.", `Please report it with these words: ${said}`);
}

type Answer<T> = { data?: T; error?: unknown; response: Response };

/** Gives the data of an answer, or throws its Problem. */
export async function answer<T>(call: Promise<Answer<T>>): Promise<T> {
  let got: Answer<T>;
  try {
    got = await call;
  } catch {
    throw unreachable();
  }
  if (!got.response.ok) throw problemOf(got.response.status, got.error);
  return got.data as T;
}
