import Foundation
import GoldenSupport
import SwanCheckpoints
import SwanPipelines
import SwanSystem
import Testing
import Torch

/// StreamDiffusionV2's YAML files, and errors in them.
@Suite struct StreamConfigurationTests {
    private let published = """
        model_name: wan
        generator_name: causal_wan
        generator_ckpt: "ckpts/autoregressive_checkpoint/model.pt"
        generator_fsdp_wrap_strategy: size
        generator_grad:
          model: true
        denoising_step_list:
        - 700
        - 500
        - 400
        - 200
        - 0
        num_train_timestep: 1000
        timestep_shift: 8.0
        seed: 0
        lr: 2.0e-06
        negative_prompt: 'a prompt'
        image_or_video_shape:
        - 1
        - 21
        num_frame_per_block: 1
        num_kv_cache: 6
        num_sink_tokens: 3
        adapt_sink_threshold: 0.2
        warp_denoising_step: false
        """

    @Test func readsThePublishedFile() throws {
        let configuration = try StreamConfiguration(yaml: published, name: "v2v.yaml")
        #expect(configuration.steps == [700, 500, 400, 200])
        #expect(configuration.shift == 8)
        #expect(configuration.cacheFrames == 6)
        #expect(configuration.sinkFrames == 3)
        #expect(configuration.sinkThreshold == 0.2)
        #expect(!configuration.warpsSteps)
        #expect(!configuration.normalizesLatents)
        #expect(configuration.timestepOffset == -100)
    }

    @Test func readsTheDTypeForTheCPU() throws {
        let yaml = "denoising_step_list: [200, 0]\ncpu_dtype: float32"
        let configuration = try StreamConfiguration(yaml: yaml, name: "stream.yaml")
        #expect(configuration.cpuType == .float32)
        #expect(configuration.computeType(on: .cpu) == (Engine.hasTiles ? .bfloat16 : .float32))
        #expect(configuration.computeType(on: .cuda(0)) == .bfloat16)
        #expect(try StreamConfiguration(yaml: published, name: "v2v.yaml").cpuType == nil)
    }

    @Test func keepsTheFirstSteps() throws {
        var configuration = try StreamConfiguration(yaml: published, name: "v2v.yaml")
        try configuration.keepSteps(2)
        #expect(configuration.steps == [700, 500])
        #expect(throws: SwanError.self) { try configuration.keepSteps(3) }
        #expect(throws: SwanError.self) { try configuration.keepSteps(0) }
    }

    @Test(arguments: [
        ("num_kv_cach: 6", "did you mean 'num_kv_cache'"),
        ("surprise: 1", "unknown key 'surprise'"),
        ("denoising_step_list: [500, 700, 0]", "must decrease"),
        ("denoising_step_list: [0]", "at least one step"),
        ("denoising_step_list: soon", "a list of integer timesteps"),
        ("num_kv_cache: 3", "sink frames"),
        ("noise_scale: 1.5", "from 0 to 1"),
        ("timestep_offset: 2000", "timestep_offset must be"),
        ("cpu_dtype: half", "float32, bfloat16 or float16"),
        ("timestep_shift: -1", "positive"),
        ("- a list", "not a YAML mapping"),
        ("a: [", "not YAML"),
        ("fps: .nan", "fps is nan"), ("fps: 0", "fps is 0"), ("fps: -1", "fps is -1"),
        ("fps: .inf", "fps is inf"), ("timestep_shift: .nan", "timestep_shift"),
        ("timestep_shift: 1e300", "timestep_shift"), ("noise_scale: .nan", "noise_scale"),
        ("adapt_sink_threshold: .inf", "adapt_sink_threshold"),
        ("num_kv_cache: 9223372036854775807", "num_kv_cache"),
        ("num_frame_per_block: 4611686018427387904", "num_frame_per_block"),
        ("num_frame_per_block: 0", "num_frame_per_block"),
        ("context_noise: 1001", "context_noise"), ("context_noise: clean", "an integer"),
        ("shot_frames: 6", "context_noise"),
        ("shot_frames: 5\ncontext_noise: 0\nnum_frame_per_block: 2", "multiple of"),
        ("num_sink_tokens: -1", "num_sink_tokens"),
        ("num_sink_tokens: 9223372036854775807", "num_sink_tokens"),
        ("height: 9223372036854775807", "height"), ("width: 0", "width"),
        ("height: -256", "height"), ("width: 1000000000000", "width"),
        ("denoising_step_list: [9223372036854775807, 0]", "must decrease"),
        ("model_name: sdxl", "another kind"), ("generator_name: sdxl", "another kind"),
        ("generator_task: image", "another kind"),
        ("generator_task: bidirectional_video", "another kind"),
        ("\"esc\\e[2J\": 1", "esc\\u{1b}[2J"),
    ])
    func saysWhatIsWrong(yaml: String, words: String) {
        let error = #expect(throws: SwanError.self) {
            try StreamConfiguration(yaml: yaml, name: "mine.yaml")
        }
        #expect(error?.message.contains(words) ?? false, "\(error?.message ?? "")")
        #expect(error?.message.contains("mine.yaml") ?? false)
    }

    /// What is written is read again; models without clean keys do not mention them.
    @Test func cleanKeysSurviveWriting() throws {
        let text = "context_noise: 0\nshot_frames: 6\nnum_frame_per_block: 3\n"
        let configuration = try StreamConfiguration(yaml: text, name: "mine.yaml")
        #expect(configuration.contextNoise == 0 && configuration.shotFrames == 6)
        let folder = try TemporaryDirectory()
        let writer = ModelFolderWriter(folder.url.path, metadata: [:])
        try writer.write(configuration)
        #expect(try StreamConfiguration(yamlAt: folder.path("stream.yaml")) == configuration)
        try writer.write(StreamConfiguration())
        let plain = try String(contentsOfFile: folder.path("stream.yaml"), encoding: .utf8)
        #expect(!plain.contains("context_noise") && !plain.contains("shot_frames"))
    }

    @Test func namesAMissingFile() {
        let error = #expect(throws: SwanError.self) {
            try StreamConfiguration(yamlAt: "nowhere/config.yaml")
        }
        #expect(error?.message.contains("nowhere/config.yaml") ?? false)
    }
}
