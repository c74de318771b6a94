"""What finds personal data in a text: adapters of `understudy.ports.PiiGuard`, loaded only where a route wants one."""
