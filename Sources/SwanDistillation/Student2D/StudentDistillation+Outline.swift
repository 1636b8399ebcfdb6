package import SwanCheckpoints
package import SwanTraining
import Torch

extension StudentDistillation {
    /// What a run would do. Opens the teacher and the data; writes nothing, and throws what would keep the run from
    /// starting.
    package static func outline(
        _ file: StudentSettings.File,
        _ options: RunOptions
    ) throws -> JobOutline {
        let settings = file.settings
        try StudentFolder.check(options.output, file, resume: options.resume)
        let path = Self.path(settings.teacherPath, options.root)
        let teacher = try TeacherModel(path)
        let rows = try StudentSource(settings, options.root)
        let trained = rows.prompts.count - settings.heldOutRows
        var outline = JobOutline()
        outline.add("command", "train")
        outline.add("kind", "student for pictures")
        outline.add(run: options.output, resume: options.resume, begunBy: "student.yaml")
        outline.add("teacher", path)
        outline.add("data", Self.path(settings.dataPath, options.root))
        outline.add("rows", .whole(rows.prompts.count))
        let steps = settings.stepCount(rows: max(1, trained), ranks: 1)
        outline.add("steps", .whole(min(options.maximumSteps ?? .max, steps)))
        outline.add("batch", .whole(settings.batch * settings.accumulation))
        outline.add("device", "\(options.device)")
        outline.add("threads", .whole(options.threads))
        let counts = try teacher.parameterCounts()
        outline.add("weights_bytes", bytes: counts.all * DType.float32.size)
        outline.add("estimated_time_seconds", .unknown("the first steps say how long one takes"))
        outline.add("notes", .list(settings.notes))
        return outline
    }
}
