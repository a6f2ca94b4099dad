import { describe, expect, it } from "vitest";
import { answer, asProblem, Problem, problemOf } from "./client";

describe("problemOf", () => {
  it("takes message, code and hint from problem+json", () => {
    const p = problemOf(403, { title: "Forbidden", detail: "ada may not do this", code: "denied", hint: "ask" });
    expect([p.status, p.message, p.code, p.hint]).toEqual([403, "ada may not do this", "denied", "ask"]);
  });
  it.each([undefined, null, "<html>", 7, { detail: 4 }])("says the status when the body is %j", (body) => {
    expect(problemOf(502, body).message).toContain("502");
  });
});

describe("answer", () => {
  it("gives the data", async () => {
    const got = await answer(Promise.resolve({ data: 7, response: new Response("7") }));
    expect(got).toBe(7);
  });
  it("throws the problem of a refusal", async () => {
    const refused = { error: { detail: "no" }, response: new Response("", { status: 409 }) };
    await expect(answer(Promise.resolve(refused))).rejects.toMatchObject({ status: 409, message: "no" });
  });
  it("throws a problem with a hint when the server is gone", async () => {
    await expect(answer(Promise.reject(new TypeError("fetch failed")))).rejects.toMatchObject({ code: "unavailable" });
  });
});

describe("asProblem", () => {
  it("leaves problems as they are", () => {
    expect(asProblem(new Problem(404, "not_found", "gone")).status).toBe(404);
  });
  it("does not blame the server for a defect of the console", () => {
    expect(asProblem(new TypeError("x is not a function"))).toMatchObject({ code: "internal" });
    expect(asProblem(new TypeError("x is not a function")).hint).toContain("x is not a function");
  });
});
