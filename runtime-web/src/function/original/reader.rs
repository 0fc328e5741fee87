//! Reads numbers, names and vectors in the encoding of WebAssembly, from untrusted bytes.

/// Why a module is invalid or unsupported.
pub(super) type Problem = String;

/// A cursor over bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    pub(super) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    pub(super) fn bytes(&mut self, count: usize) -> Result<&'a [u8], Problem> {
        let (bytes, rest) = self.rest.split_at_checked(count).ok_or("it is truncated")?;
        self.rest = rest;
        Ok(bytes)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Problem> {
        Ok(self.bytes(1)?[0])
    }

    /// An unsigned LEB128 number.
    pub(super) fn u32(&mut self) -> Result<u32, Problem> {
        let mut value = 0_u64;
        for shift in (0..35).step_by(7) {
            let byte = self.byte()?;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return u32::try_from(value)
                    .map_err(|_| "it has a number that is too large".into());
            }
        }
        Err("it has a number that is too long".into())
    }

    /// Skips a LEB128 number of any size and sign.
    pub(super) fn skip_number(&mut self) -> Result<(), Problem> {
        for _ in 0..10 {
            if self.byte()? & 0x80 == 0 {
                return Ok(());
            }
        }
        Err("it has a number that is too long".into())
    }

    /// Length-prefixed bytes.
    pub(super) fn counted(&mut self) -> Result<&'a [u8], Problem> {
        let count = self.u32()?;
        self.bytes(count as usize)
    }

    pub(super) fn name(&mut self) -> Result<&'a str, Problem> {
        std::str::from_utf8(self.counted()?).map_err(|_| "it has a name that is not UTF-8".into())
    }

    /// A vector: items with a count.
    pub(super) fn each<T>(
        &mut self,
        mut item: impl FnMut(&mut Self) -> Result<T, Problem>,
    ) -> Result<Vec<T>, Problem> {
        let count = self.u32()?;
        // No capacity is reserved: the count is untrusted, and every item takes at least a byte.
        let mut items = Vec::new();
        for _ in 0..count {
            items.push(item(self)?);
        }
        Ok(items)
    }
}

/// Writes an unsigned LEB128 number.
pub(super) fn write_u32(mut value: u32, target: &mut Vec<u8>) {
    while value >= 0x80 {
        target.push(value as u8 | 0x80);
        value >>= 7;
    }
    target.push(value as u8);
}

/// Writes length-prefixed bytes.
pub(super) fn write_counted(bytes: &[u8], target: &mut Vec<u8>) {
    write_u32(bytes.len() as u32, target);
    target.extend(bytes);
}
