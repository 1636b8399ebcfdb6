import Foundation
import SwanPipelines
import SwanSchedulers
import Testing

/// The user's settings for a generated video, as decoded from JSON.
struct GenerationSettingsTests {
    @Test func allKeysAreOptional() throws {
        let settings = try JSONDecoder().decode(GenerationSettings.self, from: Data("{}".utf8))
        #expect(settings == GenerationSettings())
    }

    @Test func keysReachTheSettings() throws {
        let json = """
            {"negative_prompt": "blur", "size": {"width": 96, "height": 64}, "frames": 9,
             "seed": 18446744073709551615, "steps": 4, "shift": 5, "solver": "dpm++sde",
             "schedule": "diffusers", "guidance": 4, "guidance_low": 3, "guidance_high": 5,
             "boundary": 0.9, "batch_guidance": true, "cache": 0.05, "preview": 2}
            """
        let settings = try JSONDecoder().decode(GenerationSettings.self, from: Data(json.utf8))
        #expect(settings.negativePrompt == "blur")
        #expect(settings.size == GenerationSettings.PictureSize(width: 96, height: 64))
        #expect((settings.frames, settings.seed, settings.steps) == (9, .max, 4))
        #expect((settings.shift, settings.guidance, settings.boundary) == (5, 4, 0.9))
        #expect((settings.lowNoiseGuidance, settings.highNoiseGuidance) == (3, 5))
        #expect(settings.solver == .dpmppSDE && settings.schedule == .diffusers)
        #expect(settings.batchesGuidance == true)
        #expect((settings.cacheThreshold, settings.previewInterval) == (0.05, 2))
        let again = try JSONDecoder().decode(
            GenerationSettings.self,
            from: JSONEncoder().encode(settings)
        )
        #expect(again == settings)
    }

    @Test(arguments: [
        ("{\"frames\": 8}", "the nearest are 5 and 9"),
        ("{\"frames\": 9223372036854775807}", "at most 10001"),
        ("{\"frames\": -9223372036854775808}", "at most 10001"), ("{\"frame\": 9}", "frame"),
        ("{\"steps\": 0}", "number of steps"),
        ("{\"steps\": 2, \"timesteps\": [1000, 500]}", "omit the steps"),
        ("{\"guidance_low\": -1}", "guidance at low noise"), ("{\"shift\": 0}", "shift"),
        ("{\"boundary\": 2}", "boundary"), ("{\"cache\": 7}", "cache threshold"),
        ("{\"size\": {\"width\": 96}}", "height"), ("{\"preview\": 0}", "preview interval"),
        ("{\"size\": {\"width\": 96, \"height\": 64}, \"area\": 6144}", "cannot be combined"),
        ("{\"solver\": \"heun\"}", "heun"),
    ])
    func saysWhatIsWrong(json: String, words: String) {
        let error = #expect(throws: DecodingError.self) {
            try JSONDecoder().decode(GenerationSettings.self, from: Data(json.utf8))
        }
        #expect("\(String(describing: error))".contains(words))
    }
}
