//! The MuJoCo library, opened at run time: the only unsafe code of the trainer. Untrusted.
//! Version 3.17.0 only (<https://mujoco.readthedocs.io>, `mujoco.h`): field offsets belong to one version.

#![expect(unsafe_code, reason = "a C library behind function pointers")]

use std::env;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use libloading::Library;

/// The version whose functions and offsets are known.
pub const MUJOCO_VERSION: &str = "3.17.0";

/// Name of the shared library inside Python's package.
const LIBRARY_FILE: &str = "libmujoco.so.3.17.0";

/// Components of the state, `mjtState`.
const STATE_QPOS: c_int = 1 << 1;
const STATE_QVEL: c_int = 1 << 2;
const STATE_CTRL: c_int = 1 << 6;
const STATE_XFRC: c_int = 1 << 8;
/// Everything the next step depends on, warm start included: `mjSTATE_INTEGRATION`.
const STATE_INTEGRATION: c_int = (1 << 14) - 1;

/// Byte offsets of pointers in `mjData` of 3.17.0 on x86-64 Linux.
const OFFSET_QPOS: usize = 160_688;
const OFFSET_XPOS: usize = 160_840;
const OFFSET_CFRC_EXT: usize = 161_464;

/// Why a simulation could not be opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum MujocoError {
    /// No library where one was looked for.
    #[error(
        "the MuJoCo library was not found; run `pip install --no-deps mujoco=={MUJOCO_VERSION}`, or set MUJOCO_LIB to \
         {LIBRARY_FILE}"
    )]
    LibraryMissing,
    /// The file is no loadable library, or lacks a function.
    #[error("{path} cannot be used as the MuJoCo library: {reason}")]
    LibraryUnusable {
        /// The file that was tried.
        path: String,
        /// What the loader said.
        reason: String,
    },
    /// A version whose layout is not known.
    #[error("MuJoCo {found} is not supported; install {MUJOCO_VERSION}")]
    Version {
        /// What the library says it is.
        found: String,
    },
    /// The platform or the layout differs from the known one.
    #[error("the layout of MuJoCo's data is only known for {MUJOCO_VERSION} on x86-64 Linux")]
    Layout,
    /// No model file where one was looked for.
    #[error(
        "the model file {name} was not found; run `pip install --no-deps gymnasium==1.4.0`, or set GYMNASIUM_ASSETS to \
         its folder envs/mujoco/assets"
    )]
    ModelMissing {
        /// Name of the file.
        name: String,
    },
    /// MuJoCo refused the model file.
    #[error("MuJoCo cannot load {path}: {reason}")]
    Model {
        /// The file.
        path: String,
        /// What MuJoCo said.
        reason: String,
    },
    /// The model has other sizes than the task needs.
    #[error("the model has {found} where the task needs {expected}")]
    Shape {
        /// What the task needs.
        expected: usize,
        /// What the model has.
        found: usize,
    },
}

type ModelFn = unsafe extern "C" fn(*mut c_void);
type DataFn = unsafe extern "C" fn(*const c_void, *mut c_void);
type StateFn = unsafe extern "C" fn(*const c_void, *const c_void, *mut f64, c_int);

/// Function pointers of the loaded library; `library` keeps them valid.
struct Functions {
    load_xml: unsafe extern "C" fn(*const c_char, *const c_void, *mut c_char, c_int) -> *mut c_void,
    make_data: unsafe extern "C" fn(*const c_void) -> *mut c_void,
    delete_data: ModelFn,
    delete_model: ModelFn,
    reset_data: DataFn,
    step: DataFn,
    forward: DataFn,
    rne_post_constraint: DataFn,
    state_size: unsafe extern "C" fn(*const c_void, c_int) -> c_int,
    get_state: StateFn,
    set_state: unsafe extern "C" fn(*const c_void, *mut c_void, *const f64, c_int),
    _library: Library,
}

/// Instead of MuJoCo's own, which prints and writes `MUJOCO_LOG.TXT` into the working directory: a deprecated attribute
/// of a model file, or a diverged state, which is reset and ends the episode.
unsafe extern "C" fn ignore_warning(_: *const c_char) {}

impl Functions {
    fn open(path: &Path) -> Result<Self, MujocoError> {
        let unusable = |reason: libloading::Error| MujocoError::LibraryUnusable {
            path: path.display().to_string(),
            reason: reason.to_string(),
        };
        // SAFETY: loading runs the library's initialisers. The path is the user's choice or Python's package; MuJoCo's
        // initialisers register plugins and touch nothing of ours.
        let library = unsafe { Library::new(path) }.map_err(unusable)?;
        macro_rules! symbol {
            ($name:literal) => {
                // SAFETY: the type is the one `mujoco.h` of 3.17.0 declares under this name; nothing but the version
                // function is called before the version has been compared.
                *unsafe { library.get($name) }.map_err(unusable)?
            };
        }
        let version: unsafe extern "C" fn() -> *const c_char = symbol!(b"mj_versionString");
        // SAFETY: takes nothing and returns a static, null-terminated string.
        let found = unsafe { CStr::from_ptr(version()) }.to_string_lossy().into_owned();
        if found != MUJOCO_VERSION {
            return Err(MujocoError::Version { found });
        }
        let warning: *mut Option<unsafe extern "C" fn(*const c_char)> = symbol!(b"mju_user_warning");
        // SAFETY: `mju_user_warning` is a global function pointer of this type, made to be set before any other call.
        unsafe { warning.write(Some(ignore_warning)) };
        Ok(Self {
            load_xml: symbol!(b"mj_loadXML"),
            make_data: symbol!(b"mj_makeData"),
            delete_data: symbol!(b"mj_deleteData"),
            delete_model: symbol!(b"mj_deleteModel"),
            reset_data: symbol!(b"mj_resetData"),
            step: symbol!(b"mj_step"),
            forward: symbol!(b"mj_forward"),
            rne_post_constraint: symbol!(b"mj_rnePostConstraint"),
            state_size: symbol!(b"mj_stateSize"),
            get_state: symbol!(b"mj_getState"),
            set_state: symbol!(b"mj_setState"),
            _library: library,
        })
    }
}

/// Folder of an installed Python package, asked from `$VIRTUAL_ENV/bin/python`, else `python3`. The package is located,
/// not imported.
pub fn python_package(name: &str) -> Option<PathBuf> {
    let python = env::var_os("VIRTUAL_ENV")
        .map(|root| Path::new(&root).join("bin/python"))
        .filter(|python| python.exists())
        .unwrap_or_else(|| PathBuf::from("python3"));
    let script = "import importlib.util, sys; s = importlib.util.find_spec(sys.argv[1]); \
                  print(s.submodule_search_locations[0] if s else '')";
    let output = Command::new(python).args(["-c", script, name]).output().ok()?;
    let folder = String::from_utf8(output.stdout).ok()?;
    let folder = folder.trim();
    (output.status.success() && !folder.is_empty()).then(|| PathBuf::from(folder))
}

/// The library: `MUJOCO_LIB` if set, else beside Python's `mujoco` package. Opened once a process.
fn functions() -> Result<Arc<Functions>, MujocoError> {
    static OPENED: OnceLock<Result<Arc<Functions>, MujocoError>> = OnceLock::new();
    let open = || {
        let path = match env::var_os("MUJOCO_LIB") {
            Some(path) => PathBuf::from(path),
            None => python_package("mujoco").ok_or(MujocoError::LibraryMissing)?.join(LIBRARY_FILE),
        };
        if !path.is_file() {
            return Err(MujocoError::LibraryMissing);
        }
        Functions::open(&path).map(Arc::new)
    };
    OPENED.get_or_init(open).clone()
}

/// Whether the library can be used.
///
/// # Errors
/// [`MujocoError::LibraryMissing`], [`MujocoError::LibraryUnusable`], [`MujocoError::Version`].
pub fn open_library() -> Result<(), MujocoError> {
    functions().map(|_| ())
}

/// One model with its data.
pub struct Simulation {
    functions: Arc<Functions>,
    model: NonNull<c_void>,
    data: NonNull<c_void>,
    positions: usize,
    velocities: usize,
    controls: usize,
    bodies: usize,
}

// SAFETY: a `Simulation` owns its model and data alone, and MuJoCo keeps no thread-local state between calls on them;
// the functions may be called from any thread as long as no two use the same data at once, which `&mut self` ensures.
unsafe impl Send for Simulation {}

impl Simulation {
    /// Loads a model file (MJCF).
    ///
    /// # Errors
    /// [`MujocoError::LibraryMissing`], [`MujocoError::LibraryUnusable`], [`MujocoError::Version`],
    /// [`MujocoError::Model`], [`MujocoError::Layout`].
    pub fn open(path: &Path) -> Result<Self, MujocoError> {
        // MuJoCo's XML reader keeps the last model in a global: one load at a time.
        static LOADING: Mutex<()> = Mutex::new(());
        let functions = functions()?;
        let refused = |reason: &str| MujocoError::Model {
            path: path.display().to_string(),
            reason: reason.trim().to_owned(),
        };
        let name = path.to_str().and_then(|name| CString::new(name).ok());
        let name = name.ok_or_else(|| refused("the path cannot be passed on"))?;
        let mut message = [0u8; 1000];
        let model = {
            let _guard = LOADING.lock().unwrap_or_else(PoisonError::into_inner);
            // SAFETY: `name` is null-terminated, no virtual file system is given, `message` has the stated size.
            unsafe {
                (functions.load_xml)(name.as_ptr(), std::ptr::null(), message.as_mut_ptr().cast(), 1000)
            }
        };
        let reason = CStr::from_bytes_until_nul(&message).unwrap_or_default().to_string_lossy();
        let model = NonNull::new(model).ok_or_else(|| refused(&reason))?;
        // SAFETY: `model` is a valid model.
        let data = NonNull::new(unsafe { (functions.make_data)(model.as_ptr()) });
        let Some(data) = data else {
            // SAFETY: `model` is valid and not used again.
            unsafe { (functions.delete_model)(model.as_ptr()) };
            return Err(refused("no memory for its data"));
        };
        let mut simulation =
            Self { functions, model, data, positions: 0, velocities: 0, controls: 0, bodies: 0 };
        simulation.positions = simulation.state_size(STATE_QPOS);
        simulation.velocities = simulation.state_size(STATE_QVEL);
        simulation.controls = simulation.state_size(STATE_CTRL);
        simulation.bodies = simulation.state_size(STATE_XFRC) / 6;
        simulation.compare_layout()?;
        Ok(simulation)
    }

    fn state_size(&self, components: c_int) -> usize {
        // SAFETY: the model is valid for as long as `self` lives.
        let size = unsafe { (self.functions.state_size)(self.model.as_ptr(), components) };
        usize::try_from(size).unwrap_or(0)
    }

    fn get(&self, components: c_int, out: &mut [f64]) {
        assert_eq!(out.len(), self.state_size(components), "length of a state");
        // SAFETY: model and data are valid; `out` has exactly the length MuJoCo writes, checked above.
        unsafe {
            (self.functions.get_state)(self.model.as_ptr(), self.data.as_ptr(), out.as_mut_ptr(), components);
        }
    }

    fn set(&mut self, components: c_int, state: &[f64]) {
        assert_eq!(state.len(), self.state_size(components), "length of a state");
        // SAFETY: model and data are valid; `state` has exactly the length MuJoCo reads, checked above.
        unsafe {
            (self.functions.set_state)(self.model.as_ptr(), self.data.as_ptr(), state.as_ptr(), components);
        }
    }

    /// The array behind the pointer at `offset` of `mjData`.
    fn array(&self, offset: usize, length: usize) -> &[f64] {
        debug_assert!(matches!(offset, OFFSET_QPOS | OFFSET_XPOS | OFFSET_CFRC_EXT), "an offset of 3.17.0");
        // SAFETY: the version is 3.17.0 (`Functions::open`), the platform x86-64 Linux and `qpos` was found where the
        // layout puts it (`compare_layout`), so a `double*` to at least `length` numbers (three or six a body, or
        // `nq`) stands at `offset`; MuJoCo writes to them only through `&mut self`.
        unsafe {
            let pointer = self.data.as_ptr().cast::<u8>().add(offset).cast::<*const f64>().read();
            std::slice::from_raw_parts(pointer, length)
        }
    }

    /// # Errors
    /// [`MujocoError::Layout`] unless `qpos`, read by its offset, is what `mj_getState` returns.
    fn compare_layout(&mut self) -> Result<(), MujocoError> {
        if !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
            return Err(MujocoError::Layout);
        }
        // Numbers no other array holds, so that agreement is no accident.
        let kept = self.positions();
        let marks: Vec<f64> = (0..self.positions).map(|index| 0.123_456_789 + index as f64).collect();
        self.set(STATE_QPOS, &marks);
        let same = self.array(OFFSET_QPOS, self.positions) == marks;
        self.set(STATE_QPOS, &kept);
        if same { Ok(()) } else { Err(MujocoError::Layout) }
    }

    /// Numbers of positions (`nq`), velocities (`nv`), controls (`nu`) and bodies (the world included).
    pub fn sizes(&self) -> [usize; 4] {
        [self.positions, self.velocities, self.controls, self.bodies]
    }

    /// `qpos`.
    pub fn positions(&self) -> Vec<f64> {
        let mut out = vec![0.0; self.positions];
        self.get(STATE_QPOS, &mut out);
        out
    }

    /// `qvel`.
    pub fn velocities(&self) -> Vec<f64> {
        let mut out = vec![0.0; self.velocities];
        self.get(STATE_QVEL, &mut out);
        out
    }

    /// Writes `qpos` (`nq` numbers) and `qvel` (`nv` numbers).
    ///
    /// # Panics
    /// If a slice has another length.
    pub fn read_state(&self, positions: &mut [f64], velocities: &mut [f64]) {
        self.get(STATE_QPOS, positions);
        self.get(STATE_QVEL, velocities);
    }

    /// Back to the model's initial state, all other quantities cleared.
    pub fn reset(&mut self) {
        // SAFETY: model and data are valid.
        unsafe { (self.functions.reset_data)(self.model.as_ptr(), self.data.as_ptr()) }
    }

    /// Sets positions and velocities and computes everything that depends on them.
    ///
    /// # Panics
    /// If a slice has not `nq` or `nv` numbers.
    pub fn set_state(&mut self, positions: &[f64], velocities: &[f64]) {
        self.set(STATE_QPOS, positions);
        self.set(STATE_QVEL, velocities);
        // SAFETY: model and data are valid.
        unsafe { (self.functions.forward)(self.model.as_ptr(), self.data.as_ptr()) }
    }

    /// Applies `controls` for `count` steps of the physics, then computes contact forces.
    ///
    /// # Panics
    /// If there are not `nu` controls.
    pub fn step(&mut self, controls: &[f64], count: usize) {
        self.set(STATE_CTRL, controls);
        for _ in 0..count {
            // SAFETY: model and data are valid.
            unsafe { (self.functions.step)(self.model.as_ptr(), self.data.as_ptr()) }
        }
        // SAFETY: model and data are valid.
        unsafe { (self.functions.rne_post_constraint)(self.model.as_ptr(), self.data.as_ptr()) }
    }

    /// Position of each body's frame in the world, three numbers a body.
    pub fn body_positions(&self) -> &[f64] {
        self.array(OFFSET_XPOS, 3 * self.bodies)
    }

    /// External contact force on each body, six numbers a body (torque, force).
    pub fn contact_forces(&self) -> &[f64] {
        self.array(OFFSET_CFRC_EXT, 6 * self.bodies)
    }

    /// All that the next step depends on.
    pub fn save(&self) -> Vec<f64> {
        let mut out = vec![0.0; self.state_size(STATE_INTEGRATION)];
        self.get(STATE_INTEGRATION, &mut out);
        out
    }

    /// Restores what [`Simulation::save`] returned; derived quantities are those of the next step.
    ///
    /// # Errors
    /// [`MujocoError::Shape`] if it is another model's.
    pub fn restore(&mut self, state: &[f64]) -> Result<(), MujocoError> {
        let expected = self.state_size(STATE_INTEGRATION);
        if state.len() != expected {
            return Err(MujocoError::Shape { expected, found: state.len() });
        }
        self.set(STATE_INTEGRATION, state);
        Ok(())
    }
}

impl Drop for Simulation {
    fn drop(&mut self) {
        // SAFETY: both are valid, owned by `self` alone and not used again; data goes before its model.
        unsafe {
            (self.functions.delete_data)(self.data.as_ptr());
            (self.functions.delete_model)(self.model.as_ptr());
        }
    }
}
