"""PlatformIO's build script for every board: the system's GCC, one linker-script template, a patched image.

Result: <build_dir>/<env>/firmware.elf, .map and .bin (whose descriptor is patched), or <build_dir>/host/program.
"""

import os
import sys
from pathlib import Path

from SCons.Script import COMMAND_LINE_TARGETS, AlwaysBuild, Default, DefaultEnvironment

env = DefaultEnvironment()
PROJECT = Path(env.subst("$PROJECT_DIR"))
PLATFORM = Path(env.PioPlatform().get_dir())
sys.path[:0] = [str(PROJECT), str(PLATFORM / "builder")]

import build_settings  # noqa: E402  (the paths must be set first)

from bench.errors import BenchError  # noqa: E402
from bench.rack import image  # noqa: E402
from bench.rack.manifest import load_manifest  # noqa: E402


def fail(message):
    """Ends the build with one line that says what to do."""
    sys.stderr.write(f"Error: {message}\n")
    env.Exit(1)


def patch_image(target, source, env):
    """Fills in size, build id and CRC-32 of the raw binary, and prints how the board's RAM is used."""
    path = Path(str(target[0]))
    try:
        patched = image.patch(path.read_bytes())
        d = image.verify(patched)
    except BenchError as error:
        path.unlink()
        sys.stderr.write(f"Error: {path}: {error}\n")
        return 1
    path.write_bytes(patched)
    stack = d.stack_top - d.stack_limit
    free = d.ram_size - stack - d.static_bytes - d.federation_size - d.arena_size
    print(
        f"Image: {d.image_size} bytes, build {d.build_id.hex()[:12]}; RAM: stack {stack} reserved, "
        f"static {d.static_bytes}, federation {d.federation_size}, arena {d.arena_size}, free {free} bytes"
    )
    return None


def require_probe(target, source, env):
    """Refuses an upload without a probe: pyOCD would take any board that it finds."""
    if not env.subst("$UPLOAD_PORT"):
        sys.stderr.write("Error: which board? Give its probe: --upload-port FULL_PROBE_ID, or remote:HOST:PORT\n")
        return 1
    return None


def write_if_changed(path, text):
    """Leaves an unchanged file's time alone."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if not path.is_file() or path.read_text() != text:
        path.write_text(text)


def compile_model():
    """Emits the program of the options custom_model, custom_scheme and custom_dtype; returns its name."""
    from bench.compiler.recipe import Recipe, make  # numpy takes a while, and a program that exists does without

    options = {key: env.GetProjectOption(f"custom_{key}", "") for key in ("model", "scheme", "dtype")}
    return make(Recipe(**{key: value for key, value in options.items() if value})).plan.name


try:
    manifest = load_manifest(env.subst("$BOARD"))
    if os.environ.get("FTTE_UNBOUNDED"):
        manifest = build_settings.unbounded(manifest)
        for limit, size in (("maximum_size", manifest.flash.image_size), ("maximum_ram_size", manifest.ram.size)):
            env.BoardConfig().update(f"upload.{limit}", size)
    if stack_bytes := os.environ.get("FTTE_STACK_BYTES"):
        manifest = build_settings.with_stack(manifest, stack_bytes)
    program_name = os.environ.get("FTTE_PROGRAM") or env.GetProjectOption("custom_program", "")
    name = program_name or compile_model()
    program = build_settings.find_program(Path(env.subst("$PROJECT_SRC_DIR")), name)
except BenchError as error:
    fail(error)
if manifest.env != env.subst("$PIOENV"):
    fail(f"environment {env.subst('$PIOENV')} must have the name of its board, {manifest.env}")

is_host = manifest.family == "host"
prefix = "" if is_host else "arm-none-eabi-"
if not env.WhereIs(f"{prefix}g++"):
    fail(f"{prefix}g++ is not installed: run `make setup`, or install gcc-arm-none-eabi and its libraries")

# A cache of objects, where there is one: kernels and HAL are the same in every program (see docs/architecture.md).
cached = "ccache " if env.WhereIs("ccache") else ""
env["ENV"].setdefault("CCACHE_DIR", str(PROJECT / ".cache" / "ccache"))
env.Replace(
    AR=f"{prefix}gcc-ar",
    AS=f"{prefix}gcc",
    CC=f"{prefix}gcc",
    CXX=f"{prefix}g++",
    CCCOM=f"{cached}{env['CCCOM']}",
    CXXCOM=f"{cached}{env['CXXCOM']}",
    LINK=f"{prefix}g++",
    RANLIB=f"{prefix}gcc-ranlib",
    SRC_FILTER=build_settings.source_filter(manifest, program, testing="__test" in COMMAND_LINE_TARGETS),
)
core_flags = list(build_settings.CORE_FLAGS[manifest.core])
env.Append(
    CCFLAGS=[*core_flags, *build_settings.COMMON_FLAGS],
    CXXFLAGS=list(build_settings.CXX_FLAGS),
    CPPDEFINES=build_settings.defines(manifest, program),
    CPPPATH=[str(program.folder), "$PROJECT_SRC_DIR"],
    LINKFLAGS=[*core_flags, "-Wl,--gc-sections"],
)
print(f"PROGRAM: {program.name}, plan {program.plan_id.hex()}")


def compile_kernel(env, node):
    """The last -O option counts."""
    return env.Object(node, CCFLAGS=[*env["CCFLAGS"], *build_settings.KERNEL_FLAGS])


for folder in ("engine", build_settings.GENERATED):
    env.AddBuildMiddleware(compile_kernel, f"*/{folder}/*")

if is_host:
    sanitizers = os.environ.get("FTTE_SANITIZERS") or env.GetProjectOption("custom_sanitizers", "")
    if sanitizers:
        env.Append(
            CCFLAGS=[f"-fsanitize={sanitizers}", "-fno-omit-frame-pointer", "-fno-sanitize-recover=all"],
            LINKFLAGS=[f"-fsanitize={sanitizers}"],
        )
    Default(env.BuildProgram())
else:
    script = Path(env.subst("$BUILD_DIR")) / "image.ld"
    template = PLATFORM / "ldscripts" / "image.ld.in"
    write_if_changed(script, build_settings.linker_script(manifest, template.read_text()))
    env.Replace(
        PROGNAME="firmware",
        PROGSUFFIX=".elf",
        LDSCRIPT_PATH=str(script),
        OBJCOPY=f"{prefix}objcopy",
        SIZETOOL=f"{prefix}size",
        SIZECHECKCMD="$SIZETOOL -A -d $SOURCES",
        SIZEPROGREGEXP=r"^\.(?:vectors|descriptor|text|rodata|data)\s+(\d+)",
        SIZEDATAREGEXP=r"^\.(?:stack|data|bss|noinit|federation|arena)\s+(\d+)",
    )
    env.Append(
        LINKFLAGS=[
            "-nostartfiles",
            "--specs=nano.specs",
            "-Wl,--fatal-warnings",
            "-Wl,--orphan-handling=error",
            '"-Wl,-Map=${BUILD_DIR}/${PROGNAME}.map"',
        ]
    )

    if "nobuild" in COMMAND_LINE_TARGETS:
        binary = env.File("$BUILD_DIR/${PROGNAME}.bin")
    else:
        elf = env.BuildProgram()
        env.Depends(elf, str(script))
        # --gap-fill: what lies between sections is as flash is after an erase.
        binary = env.Command(
            "$BUILD_DIR/${PROGNAME}.bin",
            elf,
            [
                env.VerboseAction('"$OBJCOPY" -O binary --gap-fill 0xFF $SOURCE $TARGET', "Building $TARGET"),
                env.VerboseAction(patch_image, "Patching $TARGET"),
            ],
        )
        env.Depends(binary, image.__file__)
        env.Depends(env.Alias("checkprogsize"), binary)  # one after the other: both print
        Default(binary)

    env.Replace(
        UPLOADERFLAGS=build_settings.upload_flags(manifest),
        UPLOADCMD='"$PYTHONEXE" -m pyocd flash -W "--uid=$UPLOAD_PORT" $UPLOADERFLAGS $SOURCE',
    )
    AlwaysBuild(
        env.Alias(
            "upload",
            binary,
            [
                env.VerboseAction(require_probe, "Checking the probe..."),
                env.VerboseAction("$UPLOADCMD", "Uploading $SOURCE"),
            ],
        )
    )
AlwaysBuild(env.Alias("nobuild", []))
