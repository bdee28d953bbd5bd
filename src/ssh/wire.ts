/** The data types of ssh's protocol (RFC 4251, section 5), in which OpenSSH keeps keys and certificates, too. */
export class WireReader {
  readonly #bytes: Buffer;
  #offset = 0;

  constructor(bytes: Buffer) {
    this.#bytes = bytes;
  }

  /** What has not been read yet. */
  get rest(): Buffer {
    return this.#bytes.subarray(this.#offset);
  }

  /** @throws RangeError, as all of these, where the bytes end before the value does */
  string(): Buffer {
    const length = this.uint32();
    if (length > this.rest.length) throw new RangeError('The bytes end within a string');
    this.#offset += length;
    return this.#bytes.subarray(this.#offset - length, this.#offset);
  }

  uint32(): number {
    const value = this.#bytes.readUInt32BE(this.#offset);
    this.#offset += 4;
    return value;
  }

  uint64(): bigint {
    const value = this.#bytes.readBigUInt64BE(this.#offset);
    this.#offset += 8;
    return value;
  }
}

/** A string: its length, and itself. */
export function wireString(value: string | Buffer): Buffer {
  const bytes = Buffer.from(value);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}
