// Workbooks against openpyxl, and hostile ones made by hand.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <random>

#include "base/files.h"
#include "base/test_directory.h"
#include "base/test_python.h"
#include "formats/dataset_test_support.h"
#include "formats/xlsx_dates.h"

namespace graft::formats {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class Xlsx : public testing::Test {
 protected:
  // A workbook of one sheet whose <sheetData> is `rows`, with the shared strings "a" and "b" and the style 1 = date.
  ReadRows rows_of(const std::string& rows, const std::string& more = "") {
    const std::string made = run_python(R"(
import sys, zipfile
path, rows, more = sys.argv[1:]
rel = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as z:
    z.writestr("_rels/.rels", f'<Relationships><Relationship Id="r" Type="{rel}/officeDocument" Target="xl/workbook.xml"/></Relationships>')
    z.writestr("xl/workbook.xml", f'<workbook xmlns:r="{rel}"><sheets><sheet name="S" r:id="s"/></sheets></workbook>')
    z.writestr("xl/_rels/workbook.xml.rels", f'<Relationships><Relationship Id="s" Type="{rel}/worksheet" Target="/xl/sheet.xml"/>'
               f'<Relationship Id="t" Type="{rel}/sharedStrings" Target="strings.xml"/>'
               f'<Relationship Id="u" Type="{rel}/styles" Target="styles.xml"/></Relationships>')
    z.writestr("xl/strings.xml", "<sst><si><t>a</t></si><si><r><t>b</t></r><r><t>_x0041_</t></r><rPh><t>no</t></rPh></si></sst>")
    z.writestr("xl/styles.xml", '<styleSheet><cellXfs><xf numFmtId="0"/><xf numFmtId="14"/></cellXfs></styleSheet>')
    z.writestr("xl/sheet.xml", more + f'<x:worksheet xmlns:x="m"><x:sheetData>{rows}</x:sheetData></x:worksheet>')
)",
                                        {(dir_ / "a.xlsx").string(), rows, more});
    EXPECT_EQ(made, "");
    return read_rows(dir_ / "a.xlsx");
  }

  TestDirectory dir_;
};

TEST_F(Xlsx, CellsOfEveryKindAgreeWithOpenpyxl) {
  const std::string expected = run_python(R"(
import datetime as d, json, random, sys, openpyxl
random.seed(3)
book = openpyxl.Workbook()
book.active.title = "First"
sheet = book.create_sheet("Data & more")
sheet.append(["text", "int", "float", "flag", "day", "moment", "clock", "rich"])
formats = {5: "yyyy-mm-dd", 6: 'd "day" mmm yyyy hh:mm:ss', 7: "h:mm:ss"}
for i in range(300):
    sheet.append([random.choice(["plain", " spaces ", "line\nbreak", "é😀", "<&>", "007", None]),
                  random.choice([0, -5, 2**40, None]), random.choice([0.1, -2.5e-7, 1e300, None]), random.choice([True, False, None]),
                  d.date(1901, 1, 1) + d.timedelta(days=random.randrange(60000)),
                  d.datetime(1999, 12, 31, 23, 59, 59) + d.timedelta(milliseconds=random.randrange(10**11)),
                  d.time(random.randrange(24), random.randrange(60), random.randrange(60)), "x"])
    for column, code in formats.items(): sheet.cell(row=i + 2, column=column).number_format = code
sheet.insert_rows(7, 2)
path = sys.argv[1] + "/book.xlsx"
book.save(path)
def iso(v):
    if isinstance(v, d.datetime) and v.microsecond: return v.isoformat().rstrip("0")
    return v.isoformat() if isinstance(v, (d.date, d.time)) else v
rows = list(openpyxl.load_workbook(path, data_only=True)["Data & more"].iter_rows(values_only=True))
for row in rows[1:]:
    if all(v is None for v in row): continue
    out = dict(zip(rows[0], map(iso, row)))
    out["day"] = out["day"][:10]
    print(json.dumps(out))
)",
                                          {dir_.path().string()});
  ASSERT_EQ(rows_of_lines(expected).size(), 300U);
  ReadRows read = read_rows(dir_ / "book.xlsx", {.sheet = "Data & more"});
  expect_same_rows(read, expected);
  EXPECT_EQ(read.lines[5], 9);  // two blank rows were put before it
  expect_same_rows(read_rows((dir_ / "book.xlsx").string() + "#Data & more"), expected);
  EXPECT_EQ(DatasetReader::file_of((dir_ / "book.xlsx").string() + "#Data & more"), dir_ / "book.xlsx");
  EXPECT_THAT(read_rows(dir_ / "book.xlsx").error, HasSubstr("sheet 'First': empty"));
  EXPECT_THAT(read_rows(dir_ / "book.xlsx", {.sheet = "Data"}).error, HasSubstr("no sheet 'Data' in the workbook"));
}

TEST_F(Xlsx, TheEpochOf1904Counts) {
  run_python(R"(
import sys, openpyxl, datetime
from openpyxl.utils.datetime import CALENDAR_MAC_1904
book = openpyxl.Workbook(); book.epoch = CALENDAR_MAC_1904
book.active.append(["day"]); book.active.append([datetime.datetime(2026, 11, 24, 10, 30)])
book.save(sys.argv[1])
)",
             {(dir_ / "mac.xlsx").string()});
  const ReadRows read = read_rows(dir_ / "mac.xlsx");
  ASSERT_EQ(read.rows.size(), 1U) << read.error;
  EXPECT_EQ(read.rows[0]["day"], "2026-11-24T10:30:00");
}

TEST_F(Xlsx, SharedInlineAndFormulaTextIsPutTogether) {
  const ReadRows read = rows_of(
      R"(<row r="2"><c t="s"><v>0</v></c><c r="C2" t="inlineStr"><is><r><t>in</t></r><r><t>line</t></r></is></c></row>)"
      R"(<row><c t="s"><v>1</v></c><c t="str" r="C3"><f>A1</f><v>f</v></c></row>)"
      R"(<row r="9"><c r="C9" s="1"><v>44000</v></c></row>)");
  EXPECT_EQ(read.error, "");
  ASSERT_EQ(read.rows.size(), 2U);
  EXPECT_EQ(read.rows[0].dump(), R"({"a":"bA","inline":"f"})");
  EXPECT_EQ(read.rows[1].dump(), R"({"a":null,"inline":"2020-06-18"})");
  EXPECT_THAT(read.lines, ElementsAre(3, 9));
}

TEST_F(Xlsx, ErrorsNameRowAndCell) {
  const std::string header = R"(<row r="1"><c t="s"><v>0</v></c></row>)";
  const auto error = [&](const std::string& row) { return rows_of(header + row).error; };
  EXPECT_THAT(error(R"(<row r="5"><c r="A5" t="e"><v>#N/A</v></c></row>)"),
              AllOf(HasSubstr("a.xlsx: sheet 'S': row 1: "), HasSubstr("cell A5: holds the error #N/A")));
  EXPECT_THAT(error(R"(<row r="5"><c r="A5"><f>B1</f></c></row>)"), HasSubstr("formula without a saved value"));
  EXPECT_THAT(error(R"(<row r="5"><c r="B5"><v>1</v></c></row>)"), HasSubstr("cell B5 is in a column that the header"));
  EXPECT_THAT(error(R"(<row r="5"><c r="A5" t="s"><v>2</v></c></row>)"), HasSubstr("text that is not in the workbook"));
  EXPECT_THAT(error(R"(<row r="5"><c r="A5"><v>1,5</v></c></row>)"), HasSubstr("'1,5' is no number"));
  EXPECT_THAT(error(R"(<row r="5"><c r="A5" s="1"><v>-3</v></c></row>)"), HasSubstr("outside the years"));
  EXPECT_THAT(error(R"(<row r="5"/><row r="5"/>)"), HasSubstr("not in order"));
  EXPECT_THAT(error(R"(<row r="5"><c r="ZZZ5"><v>1</v></c></row>)"), HasSubstr("no cell is called 'ZZZ5'"));
  EXPECT_THAT(error("<row><c>"), HasSubstr("not valid XML"));
  EXPECT_THAT(rows_of("").error, HasSubstr("must name the columns"));
  EXPECT_THAT(rows_of(header + R"(<row><c t="s"><v>0</v></c></row>)", "<!DOCTYPE x [<!ENTITY a 'b'>]>").error,
              HasSubstr("document type"));
}

TEST_F(Xlsx, RowsBeforeAnErrorComeOut) {
  const ReadRows read =
      rows_of(R"(<row><c t="s"><v>0</v></c></row><row><c><v>1</v></c></row><row><c t="e"><v>#REF!</v></c></row>)");
  EXPECT_EQ(read.rows.size(), 1U);
  EXPECT_THAT(read.error, HasSubstr("row 2: "));
}

TEST(XlsxDates, FormatsAreToldApart) {
  for (const char* code : {"yyyy-mm-dd", "d/m/yy", "mmm-yy", "[$-409]dddd", "[Red]d", "mmmm"}) {
    EXPECT_EQ(xlsx_format(code), XlsxFormat::kDate) << code;
  }
  for (const char* code : {"h:mm", "mm:ss", "hh:mm:ss.0", "h:mm AM/PM"})
    EXPECT_EQ(xlsx_format(code), XlsxFormat::kTime);
  for (const char* code :
       {"General", "0.00", "#,##0 \"days\"", "[h]:mm", "[Red]0", "0\\d", "@", "0.0%", "_-* #,##0_-"}) {
    EXPECT_EQ(xlsx_format(code), XlsxFormat::kNumber) << code;
  }
  EXPECT_EQ(xlsx_format("d/m/yyyy h:mm"), XlsxFormat::kDateTime);
}

TEST_F(Xlsx, CutAndMutatedWorkbooksGiveRowsOrErrors) {
  rows_of(R"(<row><c t="s"><v>0</v></c></row><row><c><v>1</v></c></row>)");
  const std::string bytes = read_file(dir_ / "a.xlsx").value();
  const auto try_out = [&](const std::string& variant) {
    std::ofstream(dir_ / "b.xlsx", std::ios::binary) << variant;
    return read_rows(dir_ / "b.xlsx");
  };
  for (size_t size = 0; size < bytes.size(); size += 3) EXPECT_NE(try_out(bytes.substr(0, size)).error, "") << size;
  std::mt19937 random(9);
  for (int i = 0; i < 500; ++i) {
    std::string mutant = bytes;
    mutant[random() % mutant.size()] = static_cast<char>(random());
    (void)try_out(mutant);
  }
}

}  // namespace
}  // namespace graft::formats
