public import Testing
public import Torch

/// Records an issue unless every element satisfies `|actual - expected| <= absolute + relative * |expected|`.
///
/// The issue states the largest absolute and relative error with their positions, and both shapes.
public func expectClose(
    _ actual: Tensor,
    _ expected: Tensor,
    relative: Double = 1e-5,
    absolute: Double = 1e-6,
    _ what: @autoclosure () -> String = "",
    sourceLocation: SourceLocation = #_sourceLocation
) throws {
    let label = what()
    let name = label.isEmpty ? "" : "\(label): "
    guard actual.shape == expected.shape else {
        Issue.record(
            "\(name)the shape is \(actual.shape), expected \(expected.shape)",
            sourceLocation: sourceLocation
        )
        return
    }
    let comparison = Comparison(
        try actual.array(of: Double.self),
        try expected.array(of: Double.self),
        relative,
        absolute
    )
    guard comparison.failures > 0 else { return }
    let shape = actual.shape
    Issue.record(
        """
        \(name)\(comparison.failures) of \(actual.count) elements differ \
        (allowed: \(absolute) + \(relative) * |expected|)
        largest absolute error \(comparison.absolute.described(in: shape))
        largest relative error \(comparison.relative.described(in: shape))
        actual \(actual), expected \(expected)
        """,
        sourceLocation: sourceLocation
    )
}

/// Compares with the tolerance of a golden.
public func expectClose(
    _ actual: Tensor,
    _ expected: Tensor,
    within tolerance: Tolerance,
    _ what: @autoclosure () -> String = "",
    sourceLocation: SourceLocation = #_sourceLocation
) throws {
    try expectClose(
        actual,
        expected,
        relative: tolerance.relative,
        absolute: tolerance.absolute,
        what(),
        sourceLocation: sourceLocation
    )
}

private struct Comparison {
    /// The largest absolute or relative error.
    struct Worst {
        var error = -1.0
        var position = 0
        var actual = 0.0
        var expected = 0.0

        func described(in shape: [Int]) -> String {
            var rest = position
            var index: [Int] = []
            for size in shape.reversed() {
                index.insert(rest % size, at: 0)
                rest /= size
            }
            return "\(error) at \(index): \(actual), expected \(expected)"
        }
    }

    var failures = 0
    var absolute = Worst()
    var relative = Worst()

    init(_ actual: [Double], _ expected: [Double], _ relativeLimit: Double, _ limit: Double) {
        for (position, (a, e)) in zip(actual, expected).enumerated() {
            // Equal infinities match; NaN never does, not even another NaN.
            let error = a == e ? 0 : (a - e).magnitude
            let ranked = error.isNaN ? .infinity : error
            if ranked == .infinity || ranked > limit + relativeLimit * e.magnitude { failures += 1 }
            if ranked > absolute.error {
                absolute = Worst(error: ranked, position: position, actual: a, expected: e)
            }
            let share = ranked == 0 ? 0 : ranked == .infinity ? ranked : ranked / e.magnitude
            if share > relative.error {
                relative = Worst(error: share, position: position, actual: a, expected: e)
            }
        }
    }
}
