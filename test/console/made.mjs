// What all made-up answers of the API share: the time, who asks, and how the
// server and its catalog stand.
const now = Date.now();

/** A moment so many minutes ago; below 0 one that is still to come. */
export const ago = (minutes) => new Date(now - minutes * 60_000).toISOString();

/** A list that fits one page. */
export const list = (items) => ({ items, next: "" });

/** Somebody who may do so much. */
export const admin = (permissions) => ({
  kind: "user",
  id: "u1",
  name: "ada",
  grants: [{ role: "admin", scope: {} }],
  tenants: [{ id: "main", name: "Main", created: ago(9000) }],
  permissions: { "*": permissions },
});

/** A server in good order, whose catalog has these platforms, with these counts of its machines. */
export const standing = (platforms, counts) => ({
  version: "0.2.0",
  uptime_seconds: 900,
  catalog: {
    version: 12,
    created: ago(60),
    expires: ago(-60),
    age_seconds: 3600,
    source: "https://patches.example.org/repository",
    signers: ["d95fac2fdcb7347b"],
    platforms,
  },
  counts: { exploited: 0, ...counts },
});
