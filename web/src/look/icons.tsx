import type { ReactNode } from "react";

/** Icons are drawn here, so that nothing is fetched from elsewhere. They are
 * decoration: the words beside them say the same. */
function Icon({ children, size = 18 }: { children: ReactNode; size?: number }) {
  return (
    <svg
      width={size}
      height={size}
      viewBox="0 0 24 24"
      fill="none"
      stroke="currentColor"
      strokeWidth="2"
      strokeLinecap="round"
      strokeLinejoin="round"
      aria-hidden="true"
      focusable="false"
    >
      {children}
    </svg>
  );
}

export const MachineIcon = () => (
  <Icon>
    <rect x="3" y="4" width="18" height="12" rx="2" />
    <path d="M8 20h8M12 16v4" />
  </Icon>
);
export const MissingIcon = () => (
  <Icon>
    <path d="M12 3l8 3v6c0 5-3.5 8-8 9-4.5-1-8-4-8-9V6z" />
    <path d="M12 8v5M12 16.5v.01" />
  </Icon>
);
export const PatchIcon = () => (
  <Icon>
    <path d="M12 3l8 4.5v9L12 21l-8-4.5v-9zM4 7.5l8 4.5 8-4.5M12 12v9" />
  </Icon>
);
export const DeployIcon = () => (
  <Icon>
    <path d="M4 17v3h16v-3M12 3v12M7 10l5 5 5-5" />
  </Icon>
);
export const AuditIcon = () => (
  <Icon>
    <path d="M6 3h9l4 4v14H6zM9 11h7M9 15h7M9 7h3" />
  </Icon>
);
export const SunIcon = () => (
  <Icon>
    <circle cx="12" cy="12" r="4" />
    <path d="M12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.4 1.4M17.6 17.6L19 19M19 5l-1.4 1.4M6.4 17.6L5 19" />
  </Icon>
);
export const MoonIcon = () => (
  <Icon>
    <path d="M20 14.5A8.5 8.5 0 1 1 9.5 4 7 7 0 0 0 20 14.5z" />
  </Icon>
);
export const ChevronIcon = ({ open }: { open: boolean }) => (
  <Icon size={16}>{open ? <path d="M6 9l6 6 6-6" /> : <path d="M9 6l6 6-6 6" />}</Icon>
);
export const SearchIcon = () => (
  <Icon size={16}>
    <circle cx="11" cy="11" r="6" />
    <path d="M20 20l-4.5-4.5" />
  </Icon>
);
export const GoodIcon = () => (
  <Icon size={14}>
    <path d="M5 13l4 4L19 7" />
  </Icon>
);
export const WarnIcon = () => (
  <Icon size={14}>
    <path d="M12 4l9 16H3zM12 10v4M12 17.2v.01" />
  </Icon>
);
export const BadIcon = () => (
  <Icon size={14}>
    <path d="M7 7l10 10M17 7L7 17" />
  </Icon>
);
export const UnknownIcon = () => (
  <Icon size={14}>
    <path d="M9 9a3 3 0 1 1 4 2.8c-.7.3-1 .9-1 1.7M12 17.2v.01" />
  </Icon>
);

/** The mark of Fettle: a tick, for a thing in good order. */
export function Mark({ size = 28 }: { size?: number }) {
  return (
    <svg width={size} height={size} viewBox="0 0 32 32" aria-hidden="true" focusable="false">
      <rect width="32" height="32" rx="8" fill="#0b7285" />
      <path
        d="M9 17.2l4.6 4.8L23.5 10.5"
        fill="none"
        stroke="#fff"
        strokeWidth="3.6"
        strokeLinecap="round"
        strokeLinejoin="round"
      />
    </svg>
  );
}
