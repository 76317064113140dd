using CarServer.State.Engine.Basics;

namespace CarServer.Tests.Unit.Engine.Basics;

public class CalculatorTests
{
    [Test]
    [Arguments("2+2", 4)]
    [Arguments(" 1 - 2 - 3 ", -4)]
    [Arguments("2+3*4", 14)]
    [Arguments("(2+3)*4", 20)]
    [Arguments("7%4/2", 1.5)]
    [Arguments("-2^2", -4)]
    [Arguments("2^-1", 0.5)]
    [Arguments("2^3^2", 512)]
    [Arguments("2**3", 8)]
    [Arguments("--3", 3)]
    [Arguments("1.5e3 + .5", 1500.5)]
    [Arguments("sqrt(16) + abs(-1) + max(2, 3) - min(2,3) + pow(2,3)", 14)]
    [Arguments("round(2.5) + floor(1.9) + ceil(1.1)", 6)]
    [Arguments("cos(0) + ln(e) + log(100) + exp(0) + sin(0) + tan(0)", 5)]
    [Arguments("2*PI/pi", 2)]
    public async Task It_calculates(string expression, double result) => await Assert.That(Calculator.Evaluate(expression)).IsEqualTo(result);

    [Test]
    [Arguments("", "the expression ends too early")]
    [Arguments("2+", "the expression ends too early")]
    [Arguments("(1", "the expression ends too early")]
    [Arguments("1)", "unexpected ')' at character 2")]
    [Arguments("2 2", "unexpected '2' at character 3")]
    [Arguments("1/0", "division by zero")]
    [Arguments("1%0", "division by zero")]
    [Arguments("9^999", "the result is not a finite number")]
    [Arguments("sqrt(-1)", "the result is not a finite number")]
    [Arguments("1.2.3", "'1.2.3' is no number")]
    [Arguments("system(1)", "there is no function 'system'")]
    [Arguments("min(1)", "unexpected ')' at character 6")]
    [Arguments("$x", "unexpected '$' at character 1")]
    public async Task It_says_what_is_wrong(string expression, string problem) =>
        await Assert.That((await Assert.That(() => Calculator.Evaluate(expression)).Throws<BasicException>())!.Message).IsEqualTo(problem);

    [Test]
    public async Task Nesting_and_length_are_bounded()
    {
        string Nested(int depth) => new string('(', depth) + "1" + new string(')', depth);
        await Assert.That(Calculator.Evaluate(Nested(BasicLimits.MaxExpressionDepth - 1))).IsEqualTo(1);
        await Assert.That(() => Calculator.Evaluate(Nested(BasicLimits.MaxExpressionDepth))).Throws<BasicException>();
        await Assert.That(() => Calculator.Evaluate(new string('-', 4_000) + "1")).Throws<BasicException>();
        await Assert.That(Calculator.Evaluate("1" + new string(' ', BasicLimits.MaxExpressionChars - 1))).IsEqualTo(1);
        await Assert.That(() => Calculator.Evaluate("1" + new string(' ', BasicLimits.MaxExpressionChars))).Throws<BasicException>();
    }

    [Test]
    [Arguments("*.cs", "a/b/c.cs", true)]
    [Arguments("*.cs", "a/b/c.css", false)]
    [Arguments("?.cs", "c.cs", true)]
    [Arguments("a/*.cs", "a/c.cs", true)]
    [Arguments("a/*.cs", "a/b/c.cs", false)]
    [Arguments("a/**/*.cs", "a/c.cs", true)]
    [Arguments("a/**/*.cs", "a/b/d/c.cs", true)]
    [Arguments("**/b/*", "a/b/c.cs", true)]
    [Arguments("**/b/*", "a/c/b", false)]
    [Arguments("/a/**", "a/b/c", true)]
    [Arguments("a*b*c", "aXbYbZc", true)]
    [Arguments("a*b*c", "aXcYb", false)]
    public async Task A_file_pattern_fits_or_not(string pattern, string path, bool fits) => await Assert.That(new Glob(pattern).IsMatch(path)).IsEqualTo(fits);

    [Test]
    public async Task A_file_pattern_that_means_harm_costs_little()
    {
        var stars = new Glob(string.Concat(Enumerable.Repeat("*a", 2_000)) + "b");
        await Assert.That(stars.IsMatch(new string('a', 4_000))).IsFalse();
        var deep = new Glob(string.Concat(Enumerable.Repeat("**/a/", 800)) + "b");
        await Assert.That(deep.IsMatch(string.Concat(Enumerable.Repeat("a/", 1_000)) + "c")).IsFalse();
    }
}
