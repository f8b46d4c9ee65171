//! A bundle: everything that a check reads but the trust file, as one plain tar file with one spelling. Trusted.
//! `spec/bundle.md`.

use core::cell::Cell;
use std::path::Path;

use crate::load::{
    CheckPaths, Failure, FileProblem, Outcome, PropertyFiles, check_by, check_property_by, load_policy_by,
    read_file,
};
use crate::property::Decided;
use crate::reader::clause::Clause;
use crate::reader::mask::MAX_MASKS;
use crate::reader::policy::is_plain_file_name;
use crate::reader::property::MAX_PROPERTY;
use crate::reader::trust::SignerInfo;

/// Longest bundle, in bytes.
pub const MAX_BUNDLE: usize = 1 << 29;
/// Most members: every mask and what else there may be.
pub const MAX_MEMBERS: usize = MAX_MASKS + 8;
/// Folders of the policy, or of the networks of a property in its order.
pub const POLICIES: [&str; 9] = [
    "policy", "policy-2", "policy-3", "policy-4", "policy-5", "policy-6", "policy-7", "policy-8", "policy-9",
];
/// The certificate's name.
pub const CERTIFICATE: &str = "certificate.cert.dsse.json";
/// Name of the proof file of a certificate about a property.
pub const PROOF: &str = "certificate.proof.json";
/// Name of the witness file.
pub const WITNESS: &str = "certificate.witness.safetensors";
/// Name of the mask manifest; the masks lie beside it.
pub const CHAIN: &str = "masks/chain.json";
/// Names of the two files of a policy in its folder.
pub const POLICY: [&str; 2] = ["policy.json", "policy.safetensors"];
/// Name of the property.
pub const PROPERTY: &str = "property.json";
/// Name of the states.
pub const STATES: &str = "states.npy";
/// Bytes of a block of a tar file.
const BLOCK: usize = 512;

/// One file of a bundle.
#[derive(Clone, Debug)]
pub struct Member<'a> {
    /// Its name, one of those that a bundle may hold.
    pub name: &'a str,
    /// Its bytes.
    pub contents: &'a [u8],
    used: Cell<bool>,
}

/// The members of a bundle, by ascending name, each name once.
#[derive(Clone, Debug)]
pub struct Bundle<'a> {
    members: Vec<Member<'a>>,
}

/// Whether a bundle may hold a file of this name. No absolute path, no `..` and no trust file is among them.
pub fn is_member_name(name: &str) -> bool {
    let fixed = [CERTIFICATE, PROOF, WITNESS, PROPERTY, STATES];
    let in_folder = |(folder, file)| match folder {
        "masks" => is_plain_file_name(file),
        _ => POLICIES.contains(&folder) && POLICY.contains(&file),
    };
    fixed.contains(&name) || name.split_once('/').is_some_and(in_folder)
}

/// The one header that a member of this name and size may have, in the ustar format: a regular file of user and group 0
/// without names, mode 0644, time 0. `None` if the name or the size does not fit.
pub fn header(name: &str, size: usize) -> Option<Vec<u8>> {
    let zeros = |count: usize| vec![0; count];
    let octal = format!("{size:011o}\0");
    if octal.len() > 12 {
        return None;
    }
    let name = [name.as_bytes(), &zeros(100usize.checked_sub(name.len())?)].concat();
    let with = |sum: &str| {
        let numbers = format!("0000644\x000000000\x000000000\0{octal}00000000000\0{sum}0");
        let kind = "ustar\x0000";
        let device = "0000000\x000000000\0";
        [&name, numbers.as_bytes(), &zeros(100), kind.as_bytes(), &zeros(64), device.as_bytes(), &zeros(167)]
            .concat()
    };
    let sum = with("        ").iter().fold(0u32, |sum, byte| sum.saturating_add(u32::from(*byte)));
    Some(with(&format!("{sum:06o}\0 ")))
}

/// The name and the size of the member that this block announces.
fn announced(block: &[u8]) -> Result<(&str, usize), Clause> {
    let bytes = block.split(|byte| *byte == 0).next().and_then(|bytes| bytes.get(..bytes.len().min(100)));
    let bytes = bytes.unwrap_or_default();
    let word = || String::from_utf8_lossy(bytes).into_owned().into();
    if block.get(156) != Some(&b'0') {
        return Err(Clause::MemberType { name: word() });
    }
    let name = core::str::from_utf8(bytes).ok().filter(|name| is_member_name(name));
    let name = name.ok_or_else(|| Clause::MemberName { name: word() })?;
    let digits = block.get(124..135).and_then(|digits| core::str::from_utf8(digits).ok());
    let size = digits.and_then(|digits| usize::from_str_radix(digits, 8).ok());
    // The size as it is read gives the block again, to the last byte.
    let canonical = size.filter(|size| header(name, *size).as_deref() == Some(block));
    canonical.map(|size| (name, size)).ok_or_else(|| Clause::MemberHeader { name: name.into() })
}

fn is_blank(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| *byte == 0)
}

impl<'a> Bundle<'a> {
    /// Accepts iff the bytes are the bundle that writing its members gives: headers as [`header`] makes them, names that
    /// [`is_member_name`] knows in ascending order, zeros up to the next block, two blocks of zeros, nothing else.
    ///
    /// # Errors
    /// [`Clause`], one variant per clause of the format.
    ///
    /// # References
    /// POSIX.1-2017, `pax`, "ustar Interchange Format".
    pub fn parse(bytes: &'a [u8]) -> Result<Self, Clause> {
        let mut members: Vec<Member<'a>> = Vec::new();
        let mut rest = bytes;
        loop {
            let at = bytes.len().saturating_sub(rest.len());
            let ends = Clause::BundleTruncated { at };
            let (block, after) = rest.split_at_checked(BLOCK).ok_or(ends.clone())?;
            if is_blank(block) {
                let ended = after.len() == BLOCK && is_blank(after);
                return if ended { Ok(Self { members }) } else { Err(Clause::BundleEnd { at }) };
            }
            let (name, size) = announced(block)?;
            if members.last().is_some_and(|before| before.name >= name) {
                return Err(Clause::MemberOrder { name: name.into() });
            }
            if members.len() >= MAX_MEMBERS {
                return Err(Clause::TooManyMembers { cap: MAX_MEMBERS });
            }
            let blocks = size.checked_next_multiple_of(BLOCK).ok_or(ends.clone())?;
            let (file, next) = after.split_at_checked(blocks).ok_or(ends.clone())?;
            let (contents, padding) = file.split_at_checked(size).ok_or(ends)?;
            if !is_blank(padding) {
                return Err(Clause::MemberPadding { name: name.into() });
            }
            members.push(Member { name, contents, used: Cell::new(false) });
            rest = next;
        }
    }

    /// The members.
    pub fn members(&self) -> &[Member<'a>] {
        &self.members
    }

    /// The contents of a member.
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.members.iter().find(|member| member.name == name).map(|member| member.contents)
    }

    /// Reads a member as [`read_file`] reads a file; paths begin with the bundle's own.
    fn read(&self, bundle: &Path, path: &Path, cap: usize) -> Result<Vec<u8>, Failure> {
        let failure = |problem| Failure::File { path: path.to_owned(), problem };
        let found = self.members.iter().find(|member| bundle.join(member.name) == path);
        let member = found.ok_or_else(|| failure(FileProblem::Clause(Clause::MemberMissing)))?;
        member.used.set(true);
        if member.contents.len() > cap {
            return Err(failure(FileProblem::TooLarge { cap }));
        }
        Ok(member.contents.to_vec())
    }
}

/// What a bundle's certificate is about, verified, and who signed it.
#[derive(Debug)]
pub enum Checked {
    /// A policy under an adversary.
    Policy(Box<Outcome>),
    /// A network and a property.
    Property(Box<Decided>, Vec<SignerInfo>),
}

/// Checks the certificate in a bundle against the files in it; the trust file comes from elsewhere. Of a property's proof,
/// `progress` is told a total of 0.
///
/// # Errors
/// [`Failure`]: those of [`crate::load::check_paths`] and [`crate::load::check_property_files`] with the members'
/// names behind the bundle's, and the clauses of the bundle; a member that the check did not read is one.
pub fn check_bundle(
    path: &Path,
    trust: Option<&Path>,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Checked, Failure> {
    check_bytes(path, &read_file(path, MAX_BUNDLE)?, trust, progress)
}

/// [`check_bundle`] of bytes that lie, or will lie, at `path`.
///
/// # Errors
/// Those of [`check_bundle`].
pub fn check_bytes(
    path: &Path,
    bytes: &[u8],
    trust: Option<&Path>,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Checked, Failure> {
    let failure = |clause| Failure::File { path: path.to_owned(), problem: FileProblem::Clause(clause) };
    let bundle = Bundle::parse(bytes).map_err(failure)?;
    let read = |file: &Path, cap: usize| bundle.read(path, file, cap);
    let given = |name: &str| bundle.get(name).map(|_| path.join(name));
    let certificate = path.join(CERTIFICATE);
    let checked = match given(PROPERTY) {
        Some(property) => {
            // The first is needed; those after it are there or not.
            let is_there =
                |folder: &&str| bundle.members.iter().any(|member| member.name.starts_with(folder));
            let [first, others @ ..] = POLICIES;
            let folders = core::iter::once(first).chain(others.into_iter().take_while(is_there));
            let policies = folders.map(|folder| load_policy_by(&read, &path.join(folder)));
            let policies = policies.collect::<Result<Vec<_>, _>>()?;
            let property = read(&property, MAX_PROPERTY)?;
            let own = policies.iter().map(|own| [own.manifest.as_slice(), own.tensors.as_slice()]).collect();
            let files = PropertyFiles { policies: own, property: &property };
            let proof = given(PROOF);
            let mut nodes = |done| progress(done, 0);
            let decided =
                check_property_by(&read, &files, &certificate, proof.as_deref(), trust, &mut nodes)?;
            Checked::Property(Box::new(decided.0), decided.1)
        }
        None => {
            let paths = CheckPaths {
                policy: path.join("policy"),
                masks: given(CHAIN).map(|_| path.join("masks")),
                states: path.join(STATES),
                trust: trust.map(Path::to_owned),
                witness: given(WITNESS),
                certificate,
            };
            Checked::Policy(Box::new(check_by(&read, &paths, progress)?))
        }
    };
    match bundle.members.iter().find(|member| !member.used.get()) {
        Some(member) => Err(failure(Clause::MemberUnused { name: member.name.into() })),
        None => Ok(checked),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A tar file of these members, whatever they are; `change` may spoil the header of one.
    fn tar(members: &[(&str, &[u8])], change: impl Fn(&str, &mut Vec<u8>)) -> Vec<u8> {
        let mut out = Vec::new();
        for (name, contents) in members {
            let mut block = header(name, contents.len()).expect("a header");
            change(name, &mut block);
            out.extend(block);
            out.extend_from_slice(contents);
            out.resize(out.len().next_multiple_of(BLOCK), 0);
        }
        out.resize(out.len() + 2 * BLOCK, 0);
        out
    }

    fn plain(members: &[(&str, &[u8])]) -> Vec<u8> {
        tar(members, |_, _| {})
    }

    const FILES: [(&str, &[u8]); 3] = [(CERTIFICATE, b"{}"), ("masks/m", &[7; 513]), (STATES, b"")];

    fn refused(bytes: &[u8]) -> Clause {
        Bundle::parse(bytes).expect_err("refused")
    }

    /// A header whose checksum is right although a byte of it was changed.
    fn with(block: &mut [u8], at: usize, bytes: &[u8]) {
        block[at..at + bytes.len()].copy_from_slice(bytes);
        block[148..156].copy_from_slice(b"        ");
        let sum = block.iter().map(|byte| u32::from(*byte)).sum::<u32>();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }

    #[test]
    fn members_are_read() {
        let bytes = plain(&FILES);
        assert_eq!(bytes.len(), 512 * (2 + 3 + 1 + 2));
        let bundle = Bundle::parse(&bytes).unwrap();
        let found: Vec<_> = bundle.members().iter().map(|m| (m.name, m.contents)).collect();
        assert_eq!(found, FILES);
        assert_eq!((bundle.get("masks/m").map(<[u8]>::len), bundle.get(WITNESS)), (Some(513), None));
    }

    /// The first member of `tar --format=ustar -b 1 --owner=0 --group=0 --numeric-owner --mtime=@0 --mode=0644` is spelled
    /// so: its checksum was 14243.
    #[test]
    fn headers_are_those_of_gnu_tar() {
        let block = header(CERTIFICATE, 2).unwrap();
        assert_eq!((block.len(), &block[148..157]), (512, b"014243\0 0".as_slice()));
        assert_eq!(header(&"x".repeat(101), 2), None);
        assert_eq!((header("x", 1 << 33), header("x", (1 << 33) - 1).is_some()), (None, true));
    }

    #[test]
    fn a_bundle_ends_with_two_blocks_of_zeros_and_nothing_else() {
        let bytes = plain(&FILES);
        let end = bytes.len() - 2 * BLOCK;
        for cut in [1, BLOCK - 1] {
            assert_eq!(refused(&bytes[..bytes.len() - cut]), Clause::BundleEnd { at: end });
        }
        assert_eq!(refused(&bytes[..end + BLOCK]), Clause::BundleEnd { at: end });
        assert_eq!(refused(&bytes[..end]), Clause::BundleTruncated { at: end });
        assert_eq!(refused(&bytes[..BLOCK + 1]), Clause::BundleTruncated { at: 0 });
        assert_eq!(refused(b""), Clause::BundleTruncated { at: 0 });
        for more in [&[0; 512][..], b"x"] {
            assert_eq!(refused(&[&bytes, more].concat()), Clause::BundleEnd { at: end });
        }
    }

    /// Links, folders, devices, pipes, and the headers with which other formats go on.
    #[test]
    fn only_regular_files_are_members() {
        for kind in b"123456790gxLKS\0" {
            let bytes = tar(&FILES, |_, block| with(block, 156, &[*kind]));
            let expected = match kind {
                b'0' => None,
                _ => Some(Clause::MemberType { name: CERTIFICATE.into() }),
            };
            assert_eq!(Bundle::parse(&bytes).err(), expected, "{}", char::from(*kind));
        }
    }

    #[test]
    fn only_names_of_a_bundle_are_members() {
        let names = [
            "/etc/passwd",
            "../states.npy",
            "masks/../states.npy",
            "masks/a/b",
            "masks/",
            "masks/.hidden",
            "./states.npy",
            "states.npy/",
            "policy\\policy.json",
            "trust.json",
            "policy/audit.toml",
            "policy-1/policy.json",
            "policy-10/policy.json",
            "policy-2/policy-2/policy.json",
            "policy-2",
            "policy.json",
            "",
            "masks/\u{202e}",
        ];
        for name in names {
            assert_eq!(refused(&plain(&[(name, b"x")])), Clause::MemberName { name: name.into() }, "{name}");
        }
        let latin = tar(&[(STATES, b"x")], |_, block| with(block, 0, b"\xe4"));
        assert_eq!(refused(&latin), Clause::MemberName { name: "\u{fffd}tates.npy".into() });
    }

    #[test]
    fn names_ascend_each_once() {
        for second in [CERTIFICATE, "certificate.cert.dsse.json"] {
            let twice = plain(&[(CERTIFICATE, b"a"), (second, b"b")]);
            assert_eq!(refused(&twice), Clause::MemberOrder { name: CERTIFICATE.into() });
        }
        let other = plain(&[(STATES, b"a"), (PROPERTY, b"b")]);
        assert_eq!(refused(&other), Clause::MemberOrder { name: PROPERTY.into() });
    }

    /// Each field that has one spelling: mode, owners, size, time, checksum, the format, names of owners, devices, a prefix.
    #[test]
    fn headers_have_one_spelling() {
        let fields: [(usize, &[u8]); 12] = [
            (90, b"x"),
            (100, b"0000755"),
            (108, b"0000001"),
            (116, b"0000001"),
            (124, b"          2"),
            (136, b"00000000001"),
            (157, b"states.npy"),
            (257, b"ustar  \0"),
            (265, b"root"),
            (297, b"root"),
            (329, b"0000001"),
            (345, b"masks"),
        ];
        for (at, bytes) in fields {
            let spoilt = tar(&[(CERTIFICATE, b"{}")], |_, block| with(block, at, bytes));
            assert_eq!(refused(&spoilt), Clause::MemberHeader { name: CERTIFICATE.into() }, "{at}");
        }
        let sum = tar(&[(CERTIFICATE, b"{}")], |_, block| block[153] ^= 1);
        assert_eq!(refused(&sum), Clause::MemberHeader { name: CERTIFICATE.into() });
        let huge = tar(&[(CERTIFICATE, b"{}")], |_, block| with(block, 124, b"77777777777"));
        assert_eq!(refused(&huge), Clause::BundleTruncated { at: 0 });
    }

    #[test]
    fn padding_is_zero() {
        let mut bytes = plain(&FILES);
        bytes[BLOCK + 2] = 1;
        assert_eq!(refused(&bytes), Clause::MemberPadding { name: CERTIFICATE.into() });
    }

    #[test]
    fn members_are_counted() {
        let names: Vec<String> = (0..=MAX_MEMBERS).map(|n| format!("masks/m{n:05}")).collect();
        let members: Vec<(&str, &[u8])> = names.iter().map(|name| (name.as_str(), b"".as_slice())).collect();
        assert_eq!(refused(&plain(&members)), Clause::TooManyMembers { cap: MAX_MEMBERS });
        assert!(Bundle::parse(&plain(&members[1..])).is_ok());
    }

    #[test]
    fn a_member_is_read_up_to_its_cap_and_what_is_not_there_is_named() {
        let bytes = plain(&FILES);
        let bundle = Bundle::parse(&bytes).unwrap();
        let root = Path::new("x.secateur");
        let read = |name: &str, cap| bundle.read(root, &root.join(name), cap);
        assert_eq!(read("masks/m", 513).unwrap(), [7; 513]);
        let code = |name, cap| read(name, cap).map_err(|e| (e.code(), e.exit_code())).unwrap_err();
        assert_eq!(code("masks/m", 512), ("file-too-large".to_owned(), 4));
        assert_eq!(code(PROPERTY, 512), ("member-missing".to_owned(), 2));
        let outside = bundle.read(root, Path::new("states.npy"), 1).map_err(|e| e.code());
        assert_eq!(outside, Err("member-missing".to_owned()));
        let used: Vec<bool> = bundle.members().iter().map(|member| member.used.get()).collect();
        assert_eq!(used, [false, true, false]);
    }
}
