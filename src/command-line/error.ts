/** A command line or an environment that autossh cannot do anything with. */
export class CommandLineError extends Error {
  /** Tells it apart where `instanceof` cannot, as between two copies of this package. */
  override readonly name = 'CommandLineError';
  /** Whether the usage would help: something is missing or unknown, rather than a value wrong. */
  readonly showUsage: boolean;
  /** Whether it goes into the log file: autossh reads where that is, with all of its environment, before its arguments. */
  readonly isLogged: boolean;

  constructor(message: string, showUsage = false, isLogged = false) {
    super(message);
    this.showUsage = showUsage;
    this.isLogged = isLogged;
  }
}
