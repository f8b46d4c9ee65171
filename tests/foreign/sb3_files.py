"""Writes Stable-Baselines3 archives, normaliser files and PyTorch files without those libraries: sb3_files.py FOLDER.

cases.json in FOLDER lists them: {"name", "file", "options", "inputs", "outputs"} for a file that is read and gives these outputs,
{"name", "file", "options", "refused"} for one whose error must contain these words; "used" and "ignored" account for its
tensors; "or_refused": the file was changed, and only these outputs or an error are right. Formulas: Stable-Baselines3 2.x, common/policies.py, sac/policies.py, td3/policies.py; sb3-contrib, ars/policies.py."""
import base64, io, json, os, pickle, sys, types, zipfile
from collections import OrderedDict
import numpy as np

out = sys.argv[1]
rng = np.random.default_rng(7)
cases = []


def fake(module, name, bases=(object,)):
    """A class that pickles under a foreign module's name."""
    parts = module.split(".")
    for end in range(1, len(parts) + 1):
        sys.modules.setdefault(".".join(parts[:end]), types.ModuleType(".".join(parts[:end])))
    if hasattr(sys.modules[module], name):
        return getattr(sys.modules[module], name)
    cls = type(name, bases, {"__module__": module})
    cls.__qualname__ = name
    setattr(sys.modules[module], name, cls)
    return cls


def made(cls, state):
    obj = cls.__new__(cls)
    obj.__dict__.update(state)
    return obj


# --- PyTorch files -------------------------------------------------------------------------------------------------
FloatStorage = fake("torch", "FloatStorage")


def rebuild(*arguments):
    raise AssertionError("only pickled")


fake("torch._utils", "X")
for function in ("_rebuild_tensor_v2", "_rebuild_parameter"):
    clone = types.FunctionType(rebuild.__code__, globals(), function)
    clone.__module__, clone.__qualname__ = "torch._utils", function
    setattr(sys.modules["torch._utils"], function, clone)


class Storage:
    def __init__(self, array):
        self.array = array


class Tensor:
    def __init__(self, array, parameter=False):
        self.array, self.parameter = np.ascontiguousarray(array, np.float32), parameter

    def __reduce__(self):
        utils, a = sys.modules["torch._utils"], self.array
        strides = tuple(s // 4 for s in a.strides)
        plain = (utils._rebuild_tensor_v2, (Storage(a), 0, a.shape, strides, False, OrderedDict()))
        if not self.parameter:
            return plain
        return (utils._rebuild_parameter, (Tensor(a), True, OrderedDict()))


class TorchPickler(pickle.Pickler):
    def __init__(self, file):
        super().__init__(file, protocol=2)
        self.storages = []

    def persistent_id(self, obj):
        if isinstance(obj, Storage):
            self.storages.append(obj.array)
            return ("storage", FloatStorage, str(len(self.storages) - 1), "cpu", obj.array.size)
        return None


def torch_bytes(obj, extra=()):
    buffer, file = io.BytesIO(), io.BytesIO()
    pickler = TorchPickler(buffer)
    pickler.dump(obj)
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", buffer.getvalue())
        archive.writestr("archive/byteorder", "little")
        for index, array in enumerate(pickler.storages):
            archive.writestr(f"archive/data/{index}", array.tobytes())
        for name, content in extra:
            archive.writestr(f"archive/{name}", content)
    return file.getvalue()


# --- Stable-Baselines3 archives ----------------------------------------------------------------------------------
def serialised(value, kind, text):
    return {":type:": f"<class '{kind}'>", ":serialized:": base64.b64encode(pickle.dumps(value, 4)).decode(), **text}


def box(low, high, gym="gymnasium", dtype="float32", pickled=True, text=True):
    low, high = np.array(low, dtype), np.array(high, dtype)
    cls = fake(f"{gym}.spaces.box", "Box")
    shape = "shape" if gym == "gym" else "_shape"
    state = {"dtype": np.dtype(dtype), shape: low.shape, "low": low, "high": high}
    said = {"dtype": dtype, shape: list(low.shape), "low": str(low), "high": str(high)} if text else {}
    entry = serialised(made(cls, state), f"{gym}.spaces.box.Box", said)
    if not pickled:
        entry[":serialized:"] = entry[":serialized:"][:8]
    return entry


def discrete(n, gym="gymnasium"):
    cls = fake(f"{gym}.spaces.discrete", "Discrete")
    return serialised(made(cls, {"n": np.int64(n), "_shape": ()}), f"{gym}.spaces.discrete.Discrete", {"n": str(n), "_shape": []})


def other_space(name):
    module = {"MultiDiscrete": "multi_discrete", "MultiBinary": "multi_binary", "Dict": "dict"}[name]
    cls = fake(f"gymnasium.spaces.{module}", name)
    return serialised(made(cls, {"_shape": (2,)}), f"gymnasium.spaces.{module}.{name}", {"_shape": [2]})


def kwargs(plain, **classes):
    """policy_kwargs as data_to_json writes them: JSON if it can be, else pickled with a text of each entry."""
    if not classes:
        return plain
    full, text = dict(plain), dict(plain)
    for key, (module, name) in classes.items():
        full[key] = fake(module, name)
        text[key] = f"<class '{module}.{name}'>"
    return serialised(full, "dict", text)


def activation(name):
    return ("torch.nn.modules.activation", name)


AC = ("stable_baselines3.common.policies", "ActorCriticPolicy")


def policy_class(path, pickled=True):
    cls = fake(*path)
    entry = {":type:": "<class 'abc.ABCMeta'>", ":serialized:": base64.b64encode(pickle.dumps(cls, 4)).decode(), "__module__": path[0]}
    if not pickled:
        entry[":serialized:"] = "gAS"
    else:
        entry["__init__"] = f"<function {path[1]}.__init__ at 0x7f0>"
    return entry


def archive(tensors, path, action, observation=None, said=None, sde=False, pickled_class=True, version="2.3.0", more=(), **data):
    if observation is None:
        observation = box([-np.inf] * 3, [np.inf] * 3)
    document = {"policy_class": policy_class(path, pickled_class), "verbose": 0, "policy_kwargs": {} if said is None else said,
                "observation_space": observation, "action_space": action, "use_sde": sde, "_last_original_obs": None, **data}
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as zipped:
        zipped.writestr("data", json.dumps(document))
        zipped.writestr("policy.pth", torch_bytes(OrderedDict((n, Tensor(a)) for n, a in tensors.items())))
        zipped.writestr("policy.optimizer.pth", torch_bytes({"state": {}, "param_groups": []}))
        zipped.writestr("_stable_baselines3_version", version)
        for name, content in more:
            zipped.writestr(name, content)
    return file.getvalue()


def dense(rows, columns):
    return rng.normal(size=(rows, columns)).astype(np.float32), rng.normal(size=rows).astype(np.float32)


def chain(prefix, widths, bias=True):
    tensors = OrderedDict()
    for index, (columns, rows) in enumerate(zip(widths, widths[1:])):
        weight, offset = dense(rows, columns)
        tensors[f"{prefix}.{2 * index}.weight"] = weight
        if bias:
            tensors[f"{prefix}.{2 * index}.bias"] = offset
    return tensors


def single(stem, rows, columns):
    weight, bias = dense(rows, columns)
    return OrderedDict([(f"{stem}.weight", weight), (f"{stem}.bias", bias)])


X = rng.normal(size=(6, 3)) * 2
RELU, TANH = (lambda v: np.maximum(v, 0)), np.tanh


def elu(v, alpha=1):
    return np.where(v >= 0, v, alpha * np.expm1(np.minimum(v, 0)))


def silu(v):
    return v / (1 + np.exp(-v))


def run(tensors, stems, hidden, last=lambda v: v, x=X):
    for index, stem in enumerate(stems):
        x = x @ tensors[f"{stem}.weight"].astype(float).T + tensors.get(f"{stem}.bias", 0)
        x = last(x) if index + 1 == len(stems) else hidden(x)
    return x


def case(name, content, options=(), outputs=None, refused=None, x=X, used=None, ignored=None, normaliser=None, note=None, suffix="zip"):
    file = f"{name}.{suffix}"
    with open(os.path.join(out, file), "wb") as handle:
        handle.write(content)
    entry = {"name": name, "file": file, "options": list(options)}
    if normaliser is not None:
        with open(os.path.join(out, f"{name}.normaliser"), "wb") as handle:
            handle.write(normaliser)
        entry["options"] += ["--normaliser", f"{name}.normaliser"]
    if outputs is not None:
        entry.update(inputs=x.tolist(), outputs=np.asarray(outputs).tolist())
    for key, value in (("refused", refused), ("used", used), ("ignored", ignored), ("note", note)):
        if value is not None:
            entry[key] = value
    cases.append(entry)


def actor_critic(pi=(8, 8), shared=(), outputs=2, log_std=False, inputs=3):
    tensors = OrderedDict()
    if log_std:
        tensors["log_std"] = rng.normal(size=outputs).astype(np.float32)
    last = shared[-1] if shared else inputs
    tensors.update(chain("mlp_extractor.shared_net", [inputs, *shared]))
    tensors.update(chain("mlp_extractor.policy_net", [last, *pi]))
    tensors.update(chain("mlp_extractor.value_net", [last, 5]))
    tensors.update(single("action_net", outputs, pi[-1] if pi else last))
    tensors.update(single("value_net", 1, 5))
    stems = [f"mlp_extractor.shared_net.{2 * i}" for i in range(len(shared))]
    stems += [f"mlp_extractor.policy_net.{2 * i}" for i in range(len(pi))] + ["action_net"]
    return tensors, stems


def accounted(tensors, stems, more=()):
    used = sorted(name for name in tensors if name.rsplit(".", 1)[0] in stems or name in more)
    return {"used": used, "ignored": sorted(set(tensors) - set(used))}


def on_policy():
    tensors, stems = actor_critic()
    tanh, told = run(tensors, stems, TANH), accounted(tensors, stems)
    case("ppo-discrete", archive(tensors, AC, discrete(2)), outputs=tanh, **told)
    case("ppo-old-gym", archive(tensors, AC, discrete(2, "gym"), box([-1] * 3, [1] * 3, "gym"), version="1.0rc0"), outputs=tanh, **told)
    case("ppo-class-only-in-text", archive(tensors, AC, discrete(2), pickled_class=False), outputs=tanh, **told)
    for wrong, words in ((("--activation", "relu"), "which says tanh"), (("--head", "gaussian"), "categorical head"),
                         (("--output-activation", "tanh"), "which says identity"), (("--prefix", "actor."), "leaves out"),
                         (("--log-std=-1",), "no effect"), (("--action-bounds=-1,1",), "no effect")):
        case("ppo-contradicted" + wrong[0].split("=")[0], archive(tensors, AC, discrete(2)), wrong, refused=words)
    case("ppo-confirmed", archive(tensors, AC, discrete(2)), ("--activation", "tanh", "--head", "categorical"), outputs=tanh)
    case("ppo-logits", archive(tensors, AC, discrete(2)), ("--head", "deterministic"), outputs=tanh, note="its logits")
    relu = kwargs({"net_arch": {"pi": [8, 8], "vf": [5]}}, activation_fn=activation("ReLU"))
    case("ppo-relu", archive(tensors, AC, discrete(2), said=relu), outputs=run(tensors, stems, RELU), **told)
    for name, function in (("ELU", elu), ("SiLU", silu)):
        said = kwargs({}, activation_fn=activation(name))
        case(f"ppo-{name}", archive(tensors, AC, discrete(2), said=said), outputs=run(tensors, stems, function))
    said = kwargs({}, activation_fn=activation("ELU"))
    case("ppo-elu-stated", archive(tensors, AC, discrete(2), said=said), ("--activation", "elu"), outputs=run(tensors, stems, elu))
    case("ppo-elu-contradicted", archive(tensors, AC, discrete(2), said=said), ("--activation", "silu"), refused="--activation silu contradicts the file, which says elu:1")
    for name in ("GELU", "Softplus", "Mish"):
        said = kwargs({}, activation_fn=activation(name))
        case(f"ppo-{name}", archive(tensors, AC, discrete(2), said=said), refused=f'"{name}" is not bounded here')
    own = kwargs({}, activation_fn=("__main__", "ReLU"))
    case("ppo-own-activation", archive(tensors, AC, discrete(2), said=own), refused="__main__.ReLU")
    lies = dict(relu, activation_fn="<class 'torch.nn.modules.activation.Tanh'>")
    case("ppo-text-and-pickle-differ", archive(tensors, AC, discrete(2), said=lies), refused="in text and")
    case("ppo-wrong-net-arch", archive(tensors, AC, discrete(2), said={"net_arch": [8, 4]}), refused="[8, 4]")
    lost = {":type:": "<class 'dict'>", ":serialized:": "gAS"}
    case("ppo-arguments-lost", archive(tensors, AC, discrete(2), said=lost), refused="policy_kwargs are pickled")
    case("ppo-squash-without-sde", archive(tensors, AC, discrete(2), said={"squash_output": True}), refused="without use_sde")
    flat = kwargs({}, features_extractor_class=("__main__", "FlattenExtractor"))
    case("ppo-own-flatten", archive(tensors, AC, discrete(2), said=flat), refused="features extractor")
    case("ppo-list-net-arch", archive(tensors, AC, discrete(2), said={"net_arch": [8, 8]}), outputs=tanh, **told)
    case("ppo-unknown-argument", archive(tensors, AC, discrete(2), said={"squeeze": True}), refused="squeeze")
    extractor = kwargs({}, features_extractor_class=("__main__", "Mine"))
    case("ppo-features-extractor", archive(tensors, AC, discrete(2), said=extractor), refused="features extractor")
    shared, shared_stems = actor_critic(pi=(7,), shared=(9,))
    old = {"net_arch": [9, {"pi": [7], "vf": [5]}]}
    case("ppo-shared", archive(shared, AC, discrete(2), said=old), outputs=run(shared, shared_stems, TANH), **accounted(shared, shared_stems))
    only, only_stems = actor_critic(pi=(), shared=(9, 6))
    case("a2c-only-shared", archive(only, AC, discrete(2), said={"net_arch": [9, 6]}), outputs=run(only, only_stems, TANH))
    bare, bare_stems = actor_critic(pi=())
    case("ppo-linear", archive(bare, AC, discrete(2), said={"net_arch": []}), outputs=run(bare, bare_stems, TANH))
    case("ppo-linear-activation", archive(bare, AC, discrete(2)), ("--activation", "tanh"), refused="no effect")
    box_tensors, box_stems = actor_critic(log_std=True)
    mean, box_told = run(box_tensors, box_stems, TANH), accounted(box_tensors, box_stems, ["log_std"])
    ends = box([-2, -1], [2, 1])
    case("ppo-box", archive(box_tensors, AC, ends), outputs=mean, **box_told)
    case("ppo-box-mean", archive(box_tensors, AC, ends), ("--head", "deterministic"), outputs=mean, note="standard deviations are not used")
    case("ppo-box-log-std-stated", archive(box_tensors, AC, ends), ("--log-std=-1",), refused="has its own log_std")
    case("ppo-wrapped", archive(box_tensors, AC, ends, _last_original_obs=[[0.0]]), outputs=mean, note="VecNormalize")
    wide = box([-np.inf] * 4, [np.inf] * 4)
    case("ppo-observation-width", archive(box_tensors, AC, ends, wide), refused="observation space has 4 values")
    case("ppo-action-width", archive(tensors, AC, discrete(3)), refused="action space has 3 values")
    for space in ("MultiDiscrete", "MultiBinary"):
        case(f"ppo-{space}", archive(tensors, AC, other_space(space)), ("--head", "categorical"), refused=space)
    case("ppo-dict", archive(tensors, AC, discrete(2), other_space("Dict")), refused="Dict")
    case("ppo-discrete-observation", archive(tensors, AC, discrete(2), discrete(3)), refused="one-hot")
    image = box(np.zeros((1, 1, 3)), np.full((1, 1, 3), 255), dtype="uint8")
    case("ppo-image", archive(tensors, AC, discrete(2), image), refused="images")
    frames = box(np.full((3, 1), -1), np.full((3, 1), 1))
    case("ppo-stacked-frames", archive(tensors, AC, discrete(2), frames), outputs=tanh)
    cnn = OrderedDict(tensors, **{"features_extractor.cnn.0.weight": rng.normal(size=(2, 1, 2, 2))})
    case("ppo-cnn-tensors", archive(cnn, AC, discrete(2)), refused="features_extractor.cnn.0.weight")
    norm = OrderedDict((name.replace("policy_net.2", "policy_net.3"), a) for name, a in tensors.items())
    case("ppo-layer-between", archive(norm, AC, discrete(2)), refused="policy_net.3")
    maskable = ("sb3_contrib.common.maskable.policies", "MaskableActorCriticPolicy")
    case("maskable-ppo", archive(tensors, maskable, discrete(2)), outputs=tanh, note="masks of invalid actions")
    gsde, gsde_stems = actor_critic()
    gsde["log_std"] = rng.normal(size=(8, 2)).astype(np.float32)
    case("ppo-gsde", archive(gsde, AC, ends, sde=True), refused="gSDE")
    case("ppo-gsde-unsaid", archive(gsde, AC, ends), refused="gSDE")
    case("ppo-gsde-mean", archive(gsde, AC, ends, sde=True), ("--head", "deterministic"), outputs=run(gsde, gsde_stems, TANH))
    squashed = run(gsde, gsde_stems, TANH, TANH) * [2, 1]
    case("ppo-gsde-squashed", archive(gsde, AC, ends, said={"squash_output": True}, sde=True), ("--head", "deterministic"), outputs=squashed)


def off_policy():
    ends, uneven = box([-2, -1], [2, 1]), box([-1, 0], [3, 10])
    dqn = OrderedDict(chain("q_net.q_net", [3, 8, 2]), **chain("q_net_target.q_net", [3, 8, 2]))
    path, stems = ("stable_baselines3.dqn.policies", "DQNPolicy"), ["q_net.q_net.0", "q_net.q_net.2"]
    case("dqn", archive(dqn, path, discrete(2)), outputs=run(dqn, stems, RELU), **accounted(dqn, stems))
    case("dqn-no-logits", archive(dqn, path, discrete(2)), ("--head", "categorical"), refused="deterministic head")
    case("dqn-tanh", archive(dqn, path, discrete(2), said=kwargs({}, activation_fn=activation("Tanh"))), outputs=run(dqn, stems, TANH))
    case("dqn-box", archive(dqn, path, ends), refused="does not go with")
    td3 = OrderedDict()
    for stem, widths in (("actor.mu", [3, 8, 2]), ("actor_target.mu", [3, 8, 2]), ("critic.qf0", [5, 4, 1]), ("critic_target.qf0", [5, 4, 1])):
        td3.update(chain(stem, widths))
    path, stems = ("stable_baselines3.td3.policies", "TD3Policy"), ["actor.mu.0", "actor.mu.2"]
    squashed, told = run(td3, stems, RELU, TANH), accounted(td3, stems)
    case("td3", archive(td3, path, ends), outputs=squashed * [2, 1], **told)
    case("td3-uneven", archive(td3, path, uneven), outputs=[1, 5] + squashed * [2, 5], **told)
    case("td3-unit-box", archive(td3, path, box([-1, -1], [1, 1])), outputs=squashed)
    case("td3-bounds-in-text", archive(td3, path, box([-1, 0], [3, 10], pickled=False)), outputs=[1, 5] + squashed * [2, 5])
    nowhere = box([-2, -1], [2, 1], pickled=False, text=False)
    case("td3-bounds-unknown", archive(td3, path, nowhere), outputs=squashed, note="no bounds")
    case("td3-bounds-stated", archive(td3, path, nowhere), ("--action-bounds=-2,2",), outputs=squashed * 2)
    case("td3-bounds-contradicted", archive(td3, path, ends), ("--action-bounds=-3,3",), refused="--action-bounds")
    case("td3-infinite", archive(td3, path, box([-np.inf, -1], [2, 1])), refused="no finite box")
    case("td3-confirmed", archive(td3, path, ends), ("--prefix", "actor.", "--activation", "relu", "--output-activation", "tanh", "--head", "deterministic"), outputs=squashed * [2, 1])
    case("td3-gaussian", archive(td3, path, ends), ("--head", "gaussian"), refused="deterministic head")
    case("td3-net-arch", archive(td3, path, ends, said={"net_arch": {"pi": [8], "qf": [4]}}), outputs=squashed * [2, 1])
    sac = OrderedDict(chain("actor.latent_pi", [3, 8, 7]), **single("actor.mu", 2, 7), **single("actor.log_std", 2, 7))
    sac.update(chain("critic.qf0", [5, 4, 1]))
    sac.update(chain("critic_target.qf0", [5, 4, 1]))
    path, stems = ("stable_baselines3.sac.policies", "SACPolicy"), ["actor.latent_pi.0", "actor.latent_pi.2", "actor.mu"]
    squashed = run(sac, stems, RELU, TANH)
    case("sac", archive(sac, path, ends), refused="--head deterministic")
    case("sac-gaussian", archive(sac, path, ends), ("--head", "gaussian"), refused="--head deterministic")
    case("sac-mean", archive(sac, path, uneven), ("--head", "deterministic"), outputs=[1, 5] + squashed * [2, 5], **accounted(sac, stems))
    case("tqc-mean", archive(sac, ("sb3_contrib.tqc.policies", "TQCPolicy"), ends), ("--head", "deterministic"), outputs=squashed * [2, 1])
    gsde = OrderedDict((name.replace("actor.mu.", "actor.mu.0."), a) for name, a in sac.items() if not name.startswith("actor.log_std"))
    gsde["actor.log_std"] = rng.normal(size=(7, 2)).astype(np.float32)
    clipped = run(gsde, [*stems[:2], "actor.mu.0"], RELU, lambda v: np.tanh(np.clip(v, -2, 2)))
    case("sac-gsde-mean", archive(gsde, path, ends, sde=True), ("--head", "deterministic"), outputs=clipped * [2, 1])
    case("sac-gsde", archive(gsde, path, ends, sde=True), refused="gSDE")
    case("sac-gsde-unsaid", archive(gsde, path, ends), ("--head", "deterministic"), refused="use_sde is false")
    mlp = chain("action_net", [3, 8, 2])
    path, stems = ("sb3_contrib.ars.policies", "ARSPolicy"), ["action_net.0", "action_net.2"]
    case("ars-mlp", archive(mlp, path, ends), outputs=run(mlp, stems, RELU, TANH) * [2, 1])
    case("ars-discrete", archive(mlp, path, discrete(2)), outputs=run(mlp, stems, RELU))
    case("ars-unsquashed", archive(mlp, path, ends, said={"squash_output": False}), refused="squash_output")
    case("ars-class-unknown", archive(mlp, path, ends, pickled_class=False), refused="cannot be read")
    linear, path = chain("action_net", [3, 2], bias=False), ("sb3_contrib.ars.policies", "ARSLinearPolicy")
    case("ars-linear", archive(linear, path, ends), outputs=run(linear, ["action_net.0"], RELU))
    case("ars-linear-squashed", archive(linear, path, ends, said={"squash_output": True}), outputs=run(linear, ["action_net.0"], RELU, TANH) * [2, 1])
    bare = {"action_net.weight": linear["action_net.0.weight"]}
    case("ars-linear-old", archive(bare, path, ends), outputs=run(linear, ["action_net.0"], RELU))


def changed(name, tensors, stems, path, action, outputs, options=()):
    """One tensor dropped, renamed, doubled or moved: the same network or an error."""
    def write(kind, changed_tensors):
        case(f"changed-{name}-{kind}", archive(changed_tensors, path, action), options, outputs=outputs)
        cases[-1]["or_refused"] = True

    write("reversed", OrderedDict(reversed(tensors.items())))
    names = list(tensors)
    write("shuffled", OrderedDict((names[i], tensors[names[i]]) for i in rng.permutation(len(names))))
    for index, old in enumerate(names):
        write(f"dropped-{index}", OrderedDict((n, a) for n, a in tensors.items() if n != old))
        stem, _, leaf = old.rpartition(".")
        for number, new in enumerate((f"{old}x", f"x.{old}", f"{stem}.9.{leaf}", f"{stem}.{leaf}_orig", old.replace(".0.", ".4."))):
            if new != old and new not in tensors:
                write(f"renamed-{index}-{number}", OrderedDict((new if n == old else n, a) for n, a in tensors.items()))
                write(f"added-{index}-{number}", OrderedDict([*tensors.items(), (new, tensors[old])]))


def changes():
    ends = box([-2, -1], [2, 1])
    tensors, stems = actor_critic(pi=(4, 4), log_std=True)
    changed("ppo", tensors, stems, AC, ends, run(tensors, stems, TANH))
    dqn, stems = OrderedDict(chain("q_net.q_net", [3, 3, 3, 2]), **chain("q_net_target.q_net", [3, 2])), [f"q_net.q_net.{i}" for i in (0, 2, 4)]
    changed("dqn", dqn, stems, ("stable_baselines3.dqn.policies", "DQNPolicy"), discrete(2), run(dqn, stems, RELU))
    sac = OrderedDict(chain("actor.latent_pi", [3, 3]), **single("actor.mu", 2, 3), **single("actor.log_std", 2, 3), **chain("critic.qf0", [5, 1]))
    stems = ["actor.latent_pi.0", "actor.mu"]
    squashed = run(sac, stems, RELU, TANH) * [2, 1]
    changed("sac", sac, stems, ("stable_baselines3.sac.policies", "SACPolicy"), ends, squashed, ("--head", "deterministic"))
    td3, stems = OrderedDict(chain("actor.mu", [3, 3, 2]), **chain("actor_target.mu", [3, 3, 2])), ["actor.mu.0", "actor.mu.2"]
    changed("td3", td3, stems, ("stable_baselines3.td3.policies", "TD3Policy"), ends, run(td3, stems, RELU, TANH) * [2, 1])
    ars = chain("action_net", [3, 3, 2])
    stems = ["action_net.0", "action_net.2"]
    changed("ars", ars, stems, ("sb3_contrib.ars.policies", "ARSPolicy"), ends, run(ars, stems, RELU, TANH) * [2, 1])


def refused_classes():
    tensors, _ = actor_critic()
    for module, name, words in (
            ("sb3_contrib.qrdqn.policies", "QRDQNPolicy", "QR-DQN"), ("sb3_contrib.common.recurrent.policies", "RecurrentActorCriticPolicy", "RecurrentPPO"),
            ("sb3_contrib.crossq.policies", "CrossQPolicy", "CrossQ"), ("__main__", "MyPolicy", "__main__.MyPolicy"),
            ("stable_baselines3.common.policies", "ActorCriticCnnPolicy", "ActorCriticCnnPolicy"),
            ("stable_baselines3.sac.policies", "MultiInputPolicy", "dictionary observations"),
            ("stable_baselines3.common.policies", "ContinuousCritic", "ContinuousCritic")):
        case(f"class-{name}", archive(tensors, (module, name), discrete(2)), refused=words)
    data = archive(tensors, AC, discrete(2))
    for name, entry in (("sbx", None), ("sb2", "parameters"), ("nested", "model/policy.pth")):
        file = io.BytesIO()
        with zipfile.ZipFile(file, "w") as zipped:
            zipped.writestr("model/data" if name == "nested" else "data", "{}")
            if name == "sbx":
                zipped.writestr("_stable_baselines3_version", "2.3.0")
            else:
                zipped.writestr(entry, data)
        case(f"archive-{name}", file.getvalue(), refused={"sbx": "SBX", "sb2": "Stable-Baselines 2", "nested": "folder"}[name])


# --- normaliser files ----------------------------------------------------------------------------------------------
LINEAR = OrderedDict([("0.weight", rng.normal(size=(2, 3)).astype(np.float32)), ("0.bias", rng.normal(size=2).astype(np.float32))])
MEAN, VAR, FAR = rng.normal(size=3), rng.uniform(0.5, 4, size=3), np.vstack([X, X * 40])
RunningMeanStd = fake("stable_baselines3.common.running_mean_std", "RunningMeanStd")
VecNormalize = fake("stable_baselines3.common.vec_env.vec_normalize", "VecNormalize")


def statistics(mean=MEAN, var=VAR):
    return made(RunningMeanStd, {"mean": mean, "var": var, "count": 1000.0})


def vec_normalize(obs_rms, cls=VecNormalize, **more):
    state = {"num_envs": 1, "norm_obs": True, "norm_obs_keys": None, "obs_rms": obs_rms, "ret_rms": statistics(np.zeros(()), np.ones(())),
             "clip_obs": 10.0, "clip_reward": 10.0, "gamma": 0.99, "epsilon": 1e-8, "training": True, "norm_reward": True, **more}
    return made(cls, state)


def normalised(clip=10.0, epsilon=1e-8, mean=MEAN, var=VAR):
    y = (FAR - mean) / np.sqrt(var + epsilon)
    return run(LINEAR, ["0"], RELU, x=np.clip(y, -clip, clip) if clip else y)


def npz(**arrays):
    file = io.BytesIO()
    np.savez(file, **arrays)
    return file.getvalue()


def normalisers():
    model, stated = torch_bytes(OrderedDict((n, Tensor(a)) for n, a in LINEAR.items())), ("--head", "deterministic")

    def row(name, content, options=(), **expected):
        content = content if isinstance(content, bytes) else pickle.dumps(content, 4)
        if "outputs" in expected:
            expected["x"] = FAR
        case(f"norm-{name}", model, (*stated, *options), normaliser=content, suffix="pt", **expected)

    whole = vec_normalize(statistics())
    for protocol in range(6):
        row(f"protocol-{protocol}", pickle.dumps(whole, protocol), outputs=normalised())
    single = vec_normalize(statistics(), clip_obs=np.float32(5), epsilon=np.float64(1e-6))
    row("numpy-scalars", single, outputs=normalised(5, 1e-6))
    row("clip-array", vec_normalize(statistics(), clip_obs=np.array(5)), outputs=normalised(5))
    row("clip-infinite", vec_normalize(statistics(), clip_obs=np.inf), outputs=normalised(None), note="no clip radius")
    row("float32", vec_normalize(statistics(MEAN.astype("f4"), VAR.astype("f4"))), outputs=normalised())
    row("big-endian", vec_normalize(statistics(MEAN.astype(">f8"), VAR.astype(">f8"))), outputs=normalised())
    row("zero-variance", vec_normalize(statistics(var=VAR * [0, 1, 1])), outputs=normalised(var=VAR * [0, 1, 1]))
    row("not-normalised", vec_normalize(statistics(), norm_obs=False), refused="norm_obs is False")
    row("dict", vec_normalize({"observation": statistics(), "goal": statistics()}), refused="observation, goal")
    row("wrong-width", vec_normalize(statistics(np.zeros(4), np.ones(4))), refused="4")
    row("negative", vec_normalize(statistics(var=-VAR)), refused="variance 0")
    row("not-a-number", vec_normalize(statistics(var=VAR * np.nan)), refused="variance 0")
    row("infinite-mean", vec_normalize(statistics(MEAN * [np.inf, 1, 1])), refused="infinity")
    for no in (0, np.bool_(False), None):
        row(f"norm-obs-{no}", vec_normalize(statistics(), norm_obs=no), refused="norm_obs")
    row("own-module", vec_normalize(statistics(), cls=fake("lab.wrappers", "VecNormalize")), refused="lab")
    row("torch-epsilon", torch_bytes({"mean": Tensor(MEAN), "var": Tensor(VAR), "epsilon": 1e-2, "clip": 10.0}), outputs=normalised(10, 1e-2))
    row("own-class", vec_normalize(statistics(), cls=fake("__main__", "MyNormalize")), refused="MyNormalize")
    row("statistics", statistics(), outputs=normalised(None), note="no epsilon")
    row("statistics-clip", statistics(), ("--clip", "10"), outputs=normalised())
    gymnasium = made(fake("gymnasium.wrappers.normalize", "NormalizeObservation"), {"obs_rms": statistics(), "epsilon": 1e-4})
    row("gymnasium", gymnasium, outputs=normalised(None, 1e-4))
    row("dictionary", {"mean": MEAN, "var": VAR, "epsilon": 1e-3, "clip": 7.0, "count": 3}, outputs=normalised(7, 1e-3))
    row("lists", {"mean": MEAN.tolist(), "std": np.sqrt(VAR).tolist(), "clip": 10}, outputs=normalised(10, 0))
    row("inside-dictionary", {"obs_rms": statistics(), "clip_obs": 10.0}, outputs=normalised())
    row("dictionary-stray", {"mean": MEAN, "var": VAR, "scale": VAR}, refused="scale")
    row("tuple", (MEAN, VAR), refused="sequence")
    row("npz-std", npz(mean=MEAN, std=np.sqrt(VAR), clip=10), outputs=normalised(10, 0))
    row("npz-variance", npz(mean=MEAN, var=VAR, count=3, epsilon=1e-2, clip=10.0), outputs=normalised(10, 1e-2))
    row("npz-assumed", npz(mean=MEAN, var=VAR), outputs=normalised(None), note="no epsilon")
    epsilon = ("--normaliser-epsilon", "1e-2", "--clip", "10")
    row("npz-epsilon-stated", npz(mean=MEAN, var=VAR), epsilon, outputs=normalised(10, 1e-2))
    row("npz-epsilon-contradicted", npz(mean=MEAN, var=VAR, epsilon=1e-3), epsilon, refused="1e-3")
    row("npz-epsilon-of-deviations", npz(mean=MEAN, std=VAR), epsilon, refused="no effect")
    row("npz-both", npz(mean=MEAN, var=VAR, std=VAR), refused="both std and var")
    row("npz-stray", npz(mean=MEAN, var=VAR, offset=MEAN), refused="offset")
    row("npz-nothing", npz(a=MEAN, b=VAR), refused="no mean")
    row("npz-running", npz(running_mean=MEAN, running_var=VAR), refused="several libraries")
    row("npz-running-epsilon", npz(running_mean=MEAN, running_var=VAR, epsilon=1e-5, clip=5), outputs=normalised(5, 1e-5))
    row("rl-games", npz(**{"running_mean_std.running_mean": MEAN, "running_mean_std.running_var": VAR}), outputs=normalised(5, 1e-5))
    tensors, _ = actor_critic()
    row("model", archive(tensors, AC, discrete(2)), refused="a model, no normaliser")
    row("buffer", made(fake("stable_baselines3.common.buffers", "ReplayBuffer"), {"pos": 3}), refused="buffer of experience")
    row("text", b"mean 0 std 1", refused="no vecnormalize pickle")
    case("model-is-normaliser", pickle.dumps(whole, 4), stated, refused="--normaliser", suffix="pkl")
    case("model-is-old-normaliser", pickle.dumps(whole, 0), stated, refused="--normaliser", suffix="pkl")


# --- whole modules and other files ---------------------------------------------------------------------------------
def module(name, parameters=(), modules=(), path="torch.nn.modules.activation", **state):
    state = {"training": False, "_parameters": OrderedDict(parameters), "_buffers": OrderedDict(), "_modules": OrderedDict(modules),
             "_forward_hooks": OrderedDict(), **state}
    return made(fake(path, name), state)


def linear(rows, columns, bias=True, **state):
    weight, offset = dense(rows, columns)
    parameters = [("weight", Tensor(weight, True)), ("bias", Tensor(offset, True) if bias else None)]
    return module("Linear", parameters, path="torch.nn.modules.linear", in_features=columns, out_features=rows, **state), weight, offset if bias else 0


def sequential(*parts):
    return module("Sequential", modules=[(str(i), part) for i, part in enumerate(parts)], path="torch.nn.modules.container")


def modules():
    stated = ("--head", "deterministic")
    (a, wa, ba), (b, wb, bb), (c, wc, bc) = linear(5, 3), linear(4, 5, bias=False), linear(2, 4)
    leaky, tanh = module("LeakyReLU", negative_slope=0.2, inplace=False), module("Tanh")
    nested = sequential(sequential(a, leaky), module("Dropout", path="torch.nn.modules.dropout", p=0.1, inplace=False), b, tanh, c)
    h = X @ wa.T + ba
    h = np.tanh(np.where(h > 0, h, 0.2 * h) @ wb.T + bb)
    case("module", torch_bytes(nested), stated, outputs=h @ wc.T + bc, suffix="pt")
    case("module-contradicted", torch_bytes(nested), (*stated, "--activation", "relu"), refused="--activation relu contradicts the file, which says leaky_relu:", suffix="pt")
    smooth = sequential(a, module("ELU", alpha=0.5, inplace=False), b, module("SiLU", inplace=False), c)
    h = silu(elu(X @ wa.T + ba, 0.5) @ wb.T)
    case("module-smooth", torch_bytes(smooth), stated, outputs=h @ wc.T + bc, suffix="pt")
    for alpha in (1.5, 0.0, -1.0):
        steep = sequential(a, module("ELU", alpha=alpha, inplace=False), b)
        case(f"module-elu-{alpha}", torch_bytes(steep), stated, refused="above 0 and at most 1", suffix="pt")
    case("module-elu-nothing", torch_bytes(sequential(a, module("ELU", inplace=False), b)), stated, refused="ELU", suffix="pt")
    case("module-softplus", torch_bytes(sequential(a, module("Softplus", beta=1), b)), stated, refused="Softplus", suffix="pt")
    agent = module("Agent", modules=[("actor", sequential(a))], path="__main__")
    case("module-own", torch_bytes(agent), stated, refused="__main__.Agent", suffix="pt")
    case("module-in-checkpoint", torch_bytes({"model": agent, "epoch": 3}), stated, refused="__main__.Agent", suffix="pt")
    gelu = module("GELU", approximate="none")
    case("module-gelu", torch_bytes(sequential(a, gelu)), stated, refused="GELU", suffix="pt")
    hooked, _, _ = linear(2, 3, _forward_pre_hooks=OrderedDict({0: "a hook"}))
    case("module-hooked", torch_bytes(sequential(hooked)), stated, refused="hooks", suffix="pt")
    twice = sequential(a, module("ReLU", inplace=False), tanh)
    case("module-two-activations", torch_bytes(twice), stated, refused="follows no affine layer", suffix="pt")
    script = torch_bytes({}, [("constants.pkl", b"\x80\x02)."), ("code/__torch__/m.py", "class M: pass")])
    case("torchscript", script, stated, refused="TorchScript", suffix="pt")
    saved = {"state_dict": {"action_net.weight": Tensor(wa)}, "data": {"action_space": None, "net_arch": []}}
    case("policy-save", torch_bytes(saved), stated, refused="policy.save()", suffix="pt")
    case("optimizer", torch_bytes({"state": {}, "param_groups": []}), stated, refused="optimizer", suffix="pth")
    for name, content, words in (("gzip", b"\x1f\x8b\x08\0", "gunzip"), ("hdf5", b"\x89HDF\r\n\x1a\n", "Keras"), ("lfs", b"version https://git-lfs.github.com", "git lfs pull"),
                                 ("html", b"<!DOCTYPE html>", "web page"), ("flax", b"\x81\xa6params\x80", "Flax"), ("empty", b"", "empty"),
                                 ("tar", b"\0" * 257 + b"ustar", "tar archive")):
        case(f"foreign-{name}", content, stated, refused=words, suffix="bin")


on_policy()
off_policy()
changes()
refused_classes()
normalisers()
modules()
with open(os.path.join(out, "cases.json"), "w") as handle:
    json.dump(cases, handle)
