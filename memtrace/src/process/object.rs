//! A mapped file, kept open from the moment it is seen: it may be deleted, replaced, or in a mount
//! namespace of its own. Refuses to know symbols and unwind tables.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use self::{elf::Headers, file::open_file};
use super::{
    directory::{Directory, path_of},
    mappings::{Kind, Mapping},
};

pub use self::{contents::Contents, file::FileIdentity};

mod contents;
mod elf;
mod file;
mod vdso;

/// A file that a process has mapped, or the vDSO.
#[derive(Debug)]
pub struct Object {
    image: Image,
    path: Arc<Path>,
    headers: Option<Headers>,
    build_id: BuildId,
}

#[derive(Debug)]
enum Image {
    File(Arc<File>, FileIdentity),
    Vdso(Arc<[u8]>),
}

/// Tells one build of an object from all others.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum BuildId {
    /// What the linker wrote into the file: the same on all machines.
    Linked(Vec<u8>),
    /// The file has none: its [`FileIdentity`] as bytes, good on this machine only.
    Substitute(Vec<u8>),
}

impl Object {
    /// Where the object was when it was mapped, in its own mount namespace; or `[vdso]`.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A path that leads to this very file within memtrace, and for the kernel when memtrace calls
    /// it, for as long as the object lives. `None` for the vDSO.
    #[must_use]
    pub fn open_path(&self) -> Option<PathBuf> {
        match &self.image {
            Image::File(file, _) => Some(path_of(file)),
            Image::Vdso(_) => None,
        }
    }

    /// The file and its state when it was opened; `None` for the vDSO.
    #[must_use]
    pub fn identity(&self) -> Option<FileIdentity> {
        match &self.image {
            Image::File(_, identity) => Some(*identity),
            Image::Vdso(_) => None,
        }
    }

    /// Whether the file was written to since it was opened: what was read of it may be in it no more. A
    /// copy over it that keeps both size and time goes unnoticed. Never waits for a server.
    #[must_use]
    pub fn is_written(&self) -> bool {
        let Image::File(file, identity) = &self.image else { return false };
        FileIdentity::at_hand(file).is_ok_and(|now| now != *identity)
    }

    /// Whether another build was written over the file, or may have been: what is where in it is not
    /// what it was.
    #[must_use]
    pub fn is_another_build(&self) -> bool {
        let Image::File(file, identity) = &self.image else { return false };
        let Ok(now) = FileIdentity::of(file) else { return false };
        let is_same_build = || match &self.build_id {
            BuildId::Linked(linked) => {
                let headers = Headers::parse(&self.contents());
                headers.and_then(|headers| headers.build_id).as_ref() == Some(linked)
            }
            BuildId::Substitute(_) => false,
        };
        now != *identity && !(now.size == identity.size && is_same_build())
    }

    /// The build.
    #[must_use]
    pub fn build_id(&self) -> &BuildId {
        &self.build_id
    }

    /// Whether this is a 64-bit ELF file.
    #[must_use]
    pub fn is_elf(&self) -> bool {
        self.headers.is_some()
    }

    /// The bytes, with an own cache. Reading may block: see [`super::deadline::with_deadline`].
    #[must_use]
    pub fn contents(&self) -> Contents {
        self.image.contents()
    }

    /// What to add (wrapping) to an address in this mapping to get the ELF virtual address; `None`
    /// when the object is no ELF file or no segment of it holds the mapping's start.
    #[must_use]
    pub fn bias(&self, mapping: &Mapping) -> Option<u64> {
        self.headers.as_ref()?.bias(mapping)
    }

    /// Where the segment of this mapping ends in the memory of the process, zeroed data behind that
    /// of the file included; `None` as for [`Object::bias`].
    #[must_use]
    pub fn segment_end(&self, mapping: &Mapping) -> Option<u64> {
        self.headers.as_ref()?.segment_end(mapping)
    }

    pub(super) fn open(directory: &Directory, mapping: &Mapping) -> io::Result<Self> {
        let image = match mapping.kind() {
            Kind::Vdso => Image::Vdso(vdso::read_vdso()?),
            _ => Image::of_file(open_file(directory, mapping)?)?,
        };
        let headers = Headers::parse(&image.contents());
        let linked = headers.as_ref().and_then(|headers| headers.build_id.clone());
        let build_id = linked.map_or_else(|| image.substitute(), BuildId::Linked);
        Ok(Self { image, path: Arc::clone(&mapping.path), headers, build_id })
    }
}

impl Image {
    fn of_file(file: File) -> io::Result<Self> {
        let identity = FileIdentity::of(&file)?;
        Ok(Self::File(Arc::new(file), identity))
    }

    fn contents(&self) -> Contents {
        match self {
            Self::File(file, _) => Contents::of_file(Arc::clone(file)),
            Self::Vdso(bytes) => Contents::of_memory(Arc::clone(bytes)),
        }
    }

    fn substitute(&self) -> BuildId {
        BuildId::Substitute(match self {
            Self::File(_, identity) => identity.to_bytes(),
            Self::Vdso(_) => b"[vdso]".to_vec(),
        })
    }
}

impl BuildId {
    /// The bytes that tell this build from others of its kind.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Linked(bytes) | Self::Substitute(bytes) => bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use ::object::{Object as _, ObjectSymbol as _, ReadRef as _};

    use std::fs;

    use super::{
        super::workload::{Workload, mapping_of_malloc, mappings_of, own_directory},
        *,
    };

    #[test]
    fn malloc_is_found_at_its_address_plus_bias() {
        let (malloc, mapping) = mapping_of_malloc();
        let libc = Object::open(&own_directory(), &mapping).unwrap();
        let contents = libc.contents();
        let parsed = ::object::File::parse(&contents).unwrap();
        let symbol = parsed.dynamic_symbols().find(|symbol| symbol.name() == Ok("malloc")).unwrap();
        assert_eq!(malloc.wrapping_add(libc.bias(&mapping).unwrap()), symbol.address());
        let linked = parsed.build_id().unwrap().unwrap().to_vec();
        assert_eq!(*libc.build_id(), BuildId::Linked(linked));
    }

    #[test]
    fn code_in_memory_is_the_code_at_address_plus_bias() {
        let python = Workload::python("import ssl, sqlite3, ctypes, decimal");
        let directory = python.directory();
        let mappings = mappings_of(&directory);
        let process = crate::process::Process::open(python.pid()).unwrap();
        let mut checked = 0;
        for mapping in mappings.executables().concat() {
            let object = Object::open(&directory, mapping).unwrap();
            let mut code = [0; 64];
            let length = process.memory().read(mapping.range.start, &mut code).unwrap();
            let address = mapping.range.start.wrapping_add(object.bias(mapping).unwrap());
            assert_eq!(code_at(&object, address, length), code[..length], "{mapping:?}");
            checked += usize::from(length > 0);
        }
        assert!(checked > 5, "{checked} of {}", mappings.list.len());
    }

    fn code_at(object: &Object, address: u64, length: usize) -> Vec<u8> {
        use ::object::ObjectSegment as _;
        let contents = object.contents();
        let parsed = ::object::File::parse(&contents).unwrap();
        // Mappings start at whole pages, up to a page before their segment.
        let segment = parsed
            .segments()
            .filter(|segment| segment.address() & !0xfff <= address)
            .max_by_key(::object::ObjectSegment::address)
            .unwrap();
        let offset = segment.file_range().0.wrapping_add(address).wrapping_sub(segment.address());
        contents.read_bytes_at(offset, length as u64).unwrap().to_vec()
    }

    #[test]
    fn the_vdso_is_an_object() {
        let directory = own_directory();
        let mappings = mappings_of(&directory);
        let mapping = mappings.list.iter().find(|mapping| mapping.kind() == Kind::Vdso).unwrap();
        let vdso = Object::open(&directory, mapping).unwrap();
        assert_eq!(vdso.bias(mapping), Some(0_u64.wrapping_sub(mapping.range.start)));
        assert!(vdso.identity().is_none() && vdso.open_path().is_none());
        let contents = vdso.contents();
        let parsed = ::object::File::parse(&contents).unwrap();
        assert!(parsed.dynamic_symbols().any(|symbol| symbol.name() == Ok("__vdso_time")));
    }

    #[test]
    fn a_deleted_file_with_an_odd_name_is_opened() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("line\nbreak and space.so");
        let library = mapping_of_malloc().1.path;
        fs::copy(&library, &path).unwrap();
        let script = format!(
            "import mmap, os, time; p = {path:?}; f = open(p, 'rb'); \
             m = mmap.mmap(f.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC); \
             os.unlink(p); open(p, 'w').write('another')"
        );
        let python = Workload::python(&script);
        let directory = python.directory();
        let mappings = mappings_of(&directory);
        let mapping = mappings.list.iter().find(|mapping| *mapping.path == *path).unwrap();
        assert!(mapping.deleted);
        let object = Object::open(&directory, mapping).unwrap();
        let length = (&object.contents()).len().unwrap();
        assert_eq!(length, fs::metadata(&library).unwrap().len());
        assert_eq!(fs::read(object.open_path().unwrap()).unwrap(), fs::read(&library).unwrap());
    }

    /// A copy of the C library as a process has it mapped, which may be written over.
    fn copy_of_libc() -> (tempfile::TempDir, PathBuf, Object) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.so");
        fs::copy(mapping_of_malloc().1.path, &path).unwrap();
        let script = format!(
            "import mmap; f = open({path:?}, 'rb'); \
             m = mmap.mmap(f.fileno(), 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC)"
        );
        let python = Workload::python(&script);
        let directory = python.directory();
        let mappings = mappings_of(&directory);
        let mapping = mappings.list.iter().find(|mapping| *mapping.path == *path).unwrap();
        let object = Object::open(&directory, mapping).unwrap();
        (folder, path, object)
    }

    #[test]
    fn a_file_that_is_written_over_is_told_by_its_build() {
        let (_folder, path, object) = copy_of_libc();
        assert!(!object.is_written() && !object.is_another_build());
        let mut bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes).unwrap();
        assert!(object.is_written() && !object.is_another_build(), "the same again");
        let BuildId::Linked(linked) = object.build_id() else { panic!("it has one") };
        let place = memchr::memmem::find(&bytes, linked).unwrap();
        bytes[place] ^= 1;
        fs::write(&path, &bytes).unwrap();
        assert!(object.is_written() && object.is_another_build());
    }

    #[test]
    fn a_file_that_is_cut_is_another_build_and_one_that_is_deleted_is_not() {
        let (folder, path, object) = copy_of_libc();
        let file = File::options().write(true).open(&path).unwrap();
        drop(folder);
        assert!(!object.is_written() && !object.is_another_build());
        file.set_len(1 << 16).unwrap();
        assert!(object.is_written() && object.is_another_build());
    }

    #[test]
    fn files_without_build_id_are_told_by_what_stat_says() {
        let script = "import mmap, os; fd = os.memfd_create('code'); os.ftruncate(fd, 4096);\
                      m = mmap.mmap(fd, 0, mmap.MAP_PRIVATE, mmap.PROT_READ | mmap.PROT_EXEC)";
        let python = Workload::python(script);
        let directory = python.directory();
        let mappings = mappings_of(&directory);
        let is_memfd = |mapping: &&&Mapping| mapping.path.starts_with("/memfd:code");
        let executables = mappings.executables().concat();
        let memfd = executables.iter().find(is_memfd).unwrap();
        let object = Object::open(&directory, memfd).unwrap();
        let identity = object.identity().unwrap();
        assert_eq!((identity.inode, identity.size), (memfd.inode, 4096));
        assert!(matches!(object.build_id(), BuildId::Substitute(bytes) if bytes.len() == 40));
        assert!(!object.is_elf() && object.bias(memfd).is_none());
    }
}
